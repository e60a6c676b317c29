/*
 * Every sentence that the outside may be told, as it is in English, in the other languages. `{}` stands for a value: a method, a
 * number, the name of a claim. The words of errors.ts are looked up here; test/house/languages.test.ts compares the two.
 */

/** What Accept-Language can choose beside English. */
export type OtherLanguage = 'de' | 'es' | 'fr' | 'pt-BR' | 'zh-Hans' | 'ja'

export const translations = {
  // About requests
  'Invalid input.': {
    de: 'Ungültige Eingabe.',
    es: 'Entrada no válida.',
    fr: 'Entrée non valide.',
    'pt-BR': 'Entrada inválida.',
    'zh-Hans': '输入无效。',
    ja: '入力が無効です。'
  },
  'The request cannot be read.': {
    de: 'Die Anfrage kann nicht gelesen werden.',
    es: 'La solicitud no se puede leer.',
    fr: 'La requête ne peut pas être lue.',
    'pt-BR': 'A requisição não pode ser lida.',
    'zh-Hans': '无法读取请求。',
    ja: 'リクエストを読み取れません。'
  },
  'The request must have exactly one Host field.': {
    de: 'Die Anfrage muss genau ein Host-Feld haben.',
    es: 'La solicitud debe tener exactamente un campo Host.',
    fr: 'La requête doit avoir exactement un champ Host.',
    'pt-BR': 'A requisição deve ter exatamente um campo Host.',
    'zh-Hans': '请求必须恰好包含一个 Host 字段。',
    ja: 'リクエストには Host フィールドがちょうど 1 つ必要です。'
  },
  'The request expects more than 100-continue.': {
    de: 'Die Anfrage erwartet mehr als 100-continue.',
    es: 'La solicitud espera más que 100-continue.',
    fr: 'La requête attend plus que 100-continue.',
    'pt-BR': 'A requisição espera mais do que 100-continue.',
    'zh-Hans': '请求所期望的不止 100-continue。',
    ja: 'リクエストは 100-continue 以外を期待しています。'
  },
  'Not found.': {
    de: 'Nicht gefunden.',
    es: 'No encontrado.',
    fr: 'Introuvable.',
    'pt-BR': 'Não encontrado.',
    'zh-Hans': '未找到。',
    ja: '見つかりません。'
  },
  'There is no metadata, since the setting ISSUER is not a URL.': {
    de: 'Es gibt keine Metadaten, da die Einstellung ISSUER keine URL ist.',
    es: 'No hay metadatos, ya que el ajuste ISSUER no es una URL.',
    fr: "Il n'y a pas de métadonnées, car le paramètre ISSUER n'est pas une URL.",
    'pt-BR': 'Não há metadados, pois a configuração ISSUER não é uma URL.',
    'zh-Hans': '没有元数据，因为设置 ISSUER 不是 URL。',
    ja: '設定 ISSUER が URL ではないため、メタデータはありません。'
  },
  'Method "{}" not allowed.': {
    de: 'Methode "{}" nicht erlaubt.',
    es: 'Método "{}" no permitido.',
    fr: 'Méthode "{}" non autorisée.',
    'pt-BR': 'Método "{}" não permitido.',
    'zh-Hans': '不允许使用方法“{}”。',
    ja: 'メソッド "{}" は許可されていません。'
  },
  'Could not satisfy the request Accept header.': {
    de: 'Der Accept-Header der Anfrage kann nicht erfüllt werden.',
    es: 'No se puede satisfacer la cabecera Accept de la solicitud.',
    fr: "L'en-tête Accept de la requête ne peut pas être satisfait.",
    'pt-BR': 'Não é possível atender ao cabeçalho Accept da requisição.',
    'zh-Hans': '无法满足请求的 Accept 标头。',
    ja: 'リクエストの Accept ヘッダーを満たせません。'
  },
  'The request body is too large: at most {} bytes are read.': {
    de: 'Der Inhalt der Anfrage ist zu groß: Höchstens {} Bytes werden gelesen.',
    es: 'El cuerpo de la solicitud es demasiado grande: se leen {} bytes como máximo.',
    fr: 'Le corps de la requête est trop volumineux : {} octets sont lus au maximum.',
    'pt-BR': 'O corpo da requisição é grande demais: no máximo {} bytes são lidos.',
    'zh-Hans': '请求正文过大：最多读取 {} 字节。',
    ja: 'リクエスト本文が大きすぎます。読み取るのは最大 {} バイトです。'
  },
  'Unsupported media type "{}" in request.': {
    de: 'Nicht unterstützter Medientyp "{}" in der Anfrage.',
    es: 'Tipo de medio "{}" no admitido en la solicitud.',
    fr: 'Type de média "{}" non pris en charge dans la requête.',
    'pt-BR': 'Tipo de mídia "{}" não suportado na requisição.',
    'zh-Hans': '请求中的媒体类型“{}”不受支持。',
    ja: 'リクエストのメディアタイプ "{}" はサポートされていません。'
  },
  'Request was throttled. Expected available in {} seconds.': {
    de: 'Die Anfrage wurde gedrosselt. Voraussichtlich verfügbar in {} Sekunden.',
    es: 'Solicitud limitada. Disponible previsiblemente en {} segundos.',
    fr: 'Requête limitée. Disponible dans {} secondes.',
    'pt-BR': 'Requisição limitada. Disponível em {} segundos.',
    'zh-Hans': '请求过于频繁。预计 {} 秒后可用。',
    ja: 'リクエストが制限されました。{} 秒後に利用できる見込みです。'
  },
  'Request was throttled. Expected available in {} second.': {
    de: 'Die Anfrage wurde gedrosselt. Voraussichtlich verfügbar in {} Sekunde.',
    es: 'Solicitud limitada. Disponible previsiblemente en {} segundo.',
    fr: 'Requête limitée. Disponible dans {} seconde.',
    'pt-BR': 'Requisição limitada. Disponível em {} segundo.',
    'zh-Hans': '请求过于频繁。预计 {} 秒后可用。',
    ja: 'リクエストが制限されました。{} 秒後に利用できる見込みです。'
  },
  'This origin may not use the refresh cookie.': {
    de: 'Diese Herkunft darf das Refresh-Cookie nicht verwenden.',
    es: 'Este origen no puede usar la cookie de refresco.',
    fr: "Cette origine ne peut pas utiliser le cookie d'actualisation.",
    'pt-BR': 'Esta origem não pode usar o cookie de atualização.',
    'zh-Hans': '此来源不得使用刷新 Cookie。',
    ja: 'このオリジンはリフレッシュ Cookie を使用できません。'
  },
  'A server error occurred.': {
    de: 'Ein Serverfehler ist aufgetreten.',
    es: 'Se ha producido un error en el servidor.',
    fr: "Une erreur du serveur s'est produite.",
    'pt-BR': 'Ocorreu um erro no servidor.',
    'zh-Hans': '服务器出现错误。',
    ja: 'サーバーエラーが発生しました。'
  },
  'Service temporarily unavailable.': {
    de: 'Dienst vorübergehend nicht verfügbar.',
    es: 'Servicio no disponible temporalmente.',
    fr: 'Service temporairement indisponible.',
    'pt-BR': 'Serviço temporariamente indisponível.',
    'zh-Hans': '服务暂时不可用。',
    ja: 'サービスは一時的に利用できません。'
  },
  // About users and tokens
  'No active account found with the given credentials': {
    de: 'Kein aktives Konto mit diesen Zugangsdaten gefunden',
    es: 'No se encontró ninguna cuenta activa con estas credenciales',
    fr: 'Aucun compte actif trouvé avec ces identifiants',
    'pt-BR': 'Nenhuma conta ativa encontrada com estas credenciais',
    'zh-Hans': '找不到与所给凭据相符的有效账户',
    ja: '指定された認証情報に一致する有効なアカウントが見つかりません'
  },
  'No active account found for the given token.': {
    de: 'Kein aktives Konto für dieses Token gefunden.',
    es: 'No se encontró ninguna cuenta activa para este token.',
    fr: 'Aucun compte actif trouvé pour ce jeton.',
    'pt-BR': 'Nenhuma conta ativa encontrada para este token.',
    'zh-Hans': '找不到此令牌对应的有效账户。',
    ja: 'このトークンに対応する有効なアカウントが見つかりません。'
  },
  "The user's password has been changed.": {
    de: 'Das Passwort des Benutzers wurde geändert.',
    es: 'La contraseña del usuario ha cambiado.',
    fr: "Le mot de passe de l'utilisateur a été modifié.",
    'pt-BR': 'A senha do usuário foi alterada.',
    'zh-Hans': '用户的密码已更改。',
    ja: 'ユーザーのパスワードが変更されました。'
  },
  'Token is invalid': {
    de: 'Das Token ist ungültig',
    es: 'El token no es válido',
    fr: "Le jeton n'est pas valide",
    'pt-BR': 'O token é inválido',
    'zh-Hans': '令牌无效',
    ja: 'トークンが無効です'
  },
  'Token is expired': {
    de: 'Das Token ist abgelaufen',
    es: 'El token ha caducado',
    fr: 'Le jeton a expiré',
    'pt-BR': 'O token expirou',
    'zh-Hans': '令牌已过期',
    ja: 'トークンの有効期限が切れています'
  },
  "Token has no '{}' claim": {
    de: "Das Token hat keinen Claim '{}'",
    es: "El token no tiene el claim '{}'",
    fr: "Le jeton n'a pas de claim '{}'",
    'pt-BR': "O token não tem o claim '{}'",
    'zh-Hans': '令牌没有“{}”声明',
    ja: "トークンにクレーム '{}' がありません"
  },
  "Token '{}' claim has expired": {
    de: "Der Claim '{}' des Tokens ist abgelaufen",
    es: "El claim '{}' del token ha caducado",
    fr: "Le claim '{}' du jeton a expiré",
    'pt-BR': "O claim '{}' do token expirou",
    'zh-Hans': '令牌的“{}”声明已过期',
    ja: "トークンのクレーム '{}' の有効期限が切れています"
  },
  'Token has no id': {
    de: 'Das Token hat keine ID',
    es: 'El token no tiene id',
    fr: "Le jeton n'a pas d'identifiant",
    'pt-BR': 'O token não tem id',
    'zh-Hans': '令牌没有 ID',
    ja: 'トークンに ID がありません'
  },
  'Token has no type': {
    de: 'Das Token hat keinen Typ',
    es: 'El token no tiene tipo',
    fr: "Le jeton n'a pas de type",
    'pt-BR': 'O token não tem tipo',
    'zh-Hans': '令牌没有类型',
    ja: 'トークンに種類がありません'
  },
  'Token has wrong type': {
    de: 'Das Token hat den falschen Typ',
    es: 'El token tiene un tipo incorrecto',
    fr: "Le jeton n'est pas du bon type",
    'pt-BR': 'O token tem o tipo errado',
    'zh-Hans': '令牌类型错误',
    ja: 'トークンの種類が違います'
  },
  'Token is blacklisted': {
    de: 'Das Token steht auf der Sperrliste',
    es: 'El token está en la lista negra',
    fr: 'Le jeton est sur la liste noire',
    'pt-BR': 'O token está na lista negra',
    'zh-Hans': '令牌已被列入黑名单',
    ja: 'トークンはブラックリストに登録されています'
  },
  'Authentication credentials were not provided.': {
    de: 'Es wurden keine Anmeldedaten angegeben.',
    es: 'No se proporcionaron credenciales de autenticación.',
    fr: "Aucune information d'authentification n'a été fournie.",
    'pt-BR': 'As credenciais de autenticação não foram fornecidas.',
    'zh-Hans': '未提供身份验证信息。',
    ja: '認証情報が指定されていません。'
  },
  'Authorization header must contain two space-delimited values': {
    de: 'Der Authorization-Header muss aus zwei durch Leerzeichen getrennten Werten bestehen',
    es: 'La cabecera Authorization debe contener dos valores separados por un espacio',
    fr: "L'en-tête Authorization doit contenir deux valeurs séparées par une espace",
    'pt-BR': 'O cabeçalho Authorization deve conter dois valores separados por espaço',
    'zh-Hans': 'Authorization 标头必须包含两个以空格分隔的值',
    ja: 'Authorization ヘッダーには空白で区切られた 2 つの値が必要です'
  },
  'Given token not valid for any token type': {
    de: 'Das Token ist für keinen Tokentyp gültig',
    es: 'El token no es válido para ningún tipo de token',
    fr: "Le jeton n'est valide pour aucun type de jeton",
    'pt-BR': 'O token não é válido para nenhum tipo de token',
    'zh-Hans': '所给令牌对任何令牌类型都无效',
    ja: 'トークンはどの種類のトークンとしても有効ではありません'
  },
  'Token contained no recognizable user identification': {
    de: 'Das Token enthält keine erkennbare Benutzerkennung',
    es: 'El token no contiene ninguna identificación de usuario reconocible',
    fr: "Le jeton ne contient aucune identification d'utilisateur reconnaissable",
    'pt-BR': 'O token não contém nenhuma identificação de usuário reconhecível',
    'zh-Hans': '令牌不包含可识别的用户标识',
    ja: 'トークンに認識できるユーザー識別情報が含まれていません'
  },
  'User not found': {
    de: 'Benutzer nicht gefunden',
    es: 'Usuario no encontrado',
    fr: 'Utilisateur introuvable',
    'pt-BR': 'Usuário não encontrado',
    'zh-Hans': '未找到用户',
    ja: 'ユーザーが見つかりません'
  },
  'User is inactive': {
    de: 'Der Benutzer ist inaktiv',
    es: 'El usuario está inactivo',
    fr: "L'utilisateur est inactif",
    'pt-BR': 'O usuário está inativo',
    'zh-Hans': '用户未激活',
    ja: 'ユーザーは無効です'
  },
  'You do not have permission to perform this action.': {
    de: 'Sie sind zu dieser Aktion nicht berechtigt.',
    es: 'No tiene permiso para realizar esta acción.',
    fr: "Vous n'avez pas la permission d'effectuer cette action.",
    'pt-BR': 'Você não tem permissão para executar esta ação.',
    'zh-Hans': '您没有执行该操作的权限。',
    ja: 'このアクションを実行する権限がありません。'
  },
  // About fields
  'No data provided': {
    de: 'Keine Daten angegeben',
    es: 'No se proporcionaron datos',
    fr: 'Aucune donnée fournie',
    'pt-BR': 'Nenhum dado fornecido',
    'zh-Hans': '未提供数据',
    ja: 'データが指定されていません'
  },
  'Invalid data. Expected a dictionary, but got {}.': {
    de: 'Ungültige Daten. Erwartet wurde ein Dictionary, erhalten wurde {}.',
    es: 'Datos no válidos. Se esperaba un diccionario, pero se recibió {}.',
    fr: 'Données non valides. Un dictionnaire était attendu, mais {} a été reçu.',
    'pt-BR': 'Dados inválidos. Era esperado um dicionário, mas foi recebido {}.',
    'zh-Hans': '数据无效。应为字典，但得到的是 {}。',
    ja: 'データが無効です。辞書が必要ですが、{} を受け取りました。'
  },
  'This field is required.': {
    de: 'Dieses Feld ist erforderlich.',
    es: 'Este campo es obligatorio.',
    fr: 'Ce champ est obligatoire.',
    'pt-BR': 'Este campo é obrigatório.',
    'zh-Hans': '此字段为必填项。',
    ja: 'この項目は必須です。'
  },
  'This field may not be null.': {
    de: 'Dieses Feld darf nicht null sein.',
    es: 'Este campo no puede ser nulo.',
    fr: 'Ce champ ne peut pas être nul.',
    'pt-BR': 'Este campo não pode ser nulo.',
    'zh-Hans': '此字段不能为 null。',
    ja: 'この項目は null にできません。'
  },
  'This field may not be blank.': {
    de: 'Dieses Feld darf nicht leer sein.',
    es: 'Este campo no puede estar en blanco.',
    fr: 'Ce champ ne peut pas être vide.',
    'pt-BR': 'Este campo não pode estar em branco.',
    'zh-Hans': '此字段不能为空。',
    ja: 'この項目は空にできません。'
  },
  'Not a valid string.': {
    de: 'Keine gültige Zeichenkette.',
    es: 'No es una cadena válida.',
    fr: "Ce n'est pas une chaîne valide.",
    'pt-BR': 'Não é uma string válida.',
    'zh-Hans': '不是有效的字符串。',
    ja: '有効な文字列ではありません。'
  },
  'Expected a list of items but got type "{}".': {
    de: 'Erwartet wurde eine Liste, erhalten wurde der Typ "{}".',
    es: 'Se esperaba una lista de elementos, pero se recibió el tipo "{}".',
    fr: 'Une liste était attendue, mais le type "{}" a été reçu.',
    'pt-BR': 'Era esperada uma lista de itens, mas foi recebido o tipo "{}".',
    'zh-Hans': '应为列表，但得到的类型是“{}”。',
    ja: 'リストが必要ですが、型 "{}" を受け取りました。'
  },
  'This list may not be empty.': {
    de: 'Diese Liste darf nicht leer sein.',
    es: 'Esta lista no puede estar vacía.',
    fr: 'Cette liste ne peut pas être vide.',
    'pt-BR': 'Esta lista não pode estar vazia.',
    'zh-Hans': '此列表不能为空。',
    ja: 'このリストは空にできません。'
  },
  'Ensure this field has no more than {} elements.': {
    de: 'Dieses Feld darf höchstens {} Elemente haben.',
    es: 'Este campo no puede tener más de {} elementos.',
    fr: 'Ce champ ne peut pas dépasser {} éléments.',
    'pt-BR': 'Este campo não pode ter mais de {} elementos.',
    'zh-Hans': '此字段不能超过 {} 个元素。',
    ja: 'この項目は {} 個以内にしてください。'
  },
  'Item {}: Not a valid string.': {
    de: 'Element {}: Keine gültige Zeichenkette.',
    es: 'Elemento {}: No es una cadena válida.',
    fr: "Élément {} : Ce n'est pas une chaîne valide.",
    'pt-BR': 'Item {}: Não é uma string válida.',
    'zh-Hans': '第 {} 项：不是有效的字符串。',
    ja: '項目 {}: 有効な文字列ではありません。'
  },
  'Null characters are not allowed.': {
    de: 'Nullzeichen sind nicht erlaubt.',
    es: 'No se permiten caracteres nulos.',
    fr: 'Les caractères nuls ne sont pas autorisés.',
    'pt-BR': 'Caracteres nulos não são permitidos.',
    'zh-Hans': '不允许使用空字符。',
    ja: 'null 文字は使用できません。'
  },
  'Surrogate characters are not allowed: U+{}.': {
    de: 'Surrogate-Zeichen sind nicht erlaubt: U+{}.',
    es: 'No se permiten caracteres sustitutos: U+{}.',
    fr: 'Les caractères de substitution ne sont pas autorisés : U+{}.',
    'pt-BR': 'Caracteres substitutos não são permitidos: U+{}.',
    'zh-Hans': '不允许使用代理字符：U+{}。',
    ja: 'サロゲート文字は使用できません: U+{}。'
  },
  'Ensure this field has no more than {} characters.': {
    de: 'Dieses Feld darf höchstens {} Zeichen haben.',
    es: 'Este campo no puede tener más de {} caracteres.',
    fr: 'Ce champ ne peut pas dépasser {} caractères.',
    'pt-BR': 'Este campo não pode ter mais de {} caracteres.',
    'zh-Hans': '此字段不能超过 {} 个字符。',
    ja: 'この項目は {} 文字以内にしてください。'
  },
  'Ensure this field has no more than {} bytes.': {
    de: 'Dieses Feld darf höchstens {} Bytes haben.',
    es: 'Este campo no puede tener más de {} bytes.',
    fr: 'Ce champ ne peut pas dépasser {} octets.',
    'pt-BR': 'Este campo não pode ter mais de {} bytes.',
    'zh-Hans': '此字段不能超过 {} 个字节。',
    ja: 'この項目は {} バイト以内にしてください。'
  },
  'It must be "{}".': {
    de: 'Der Wert muss "{}" sein.',
    es: 'Debe ser "{}".',
    fr: 'La valeur doit être "{}".',
    'pt-BR': 'Deve ser "{}".',
    'zh-Hans': '必须为“{}”。',
    ja: '"{}" でなければなりません。'
  },
  'It {}.': {
    de: 'Der Wert ist nicht gültig ({}).',
    es: 'El valor no es válido ({}).',
    fr: "La valeur n'est pas valide ({}).",
    'pt-BR': 'O valor não é válido ({}).',
    'zh-Hans': '值无效（{}）。',
    ja: '値が無効です ({})。'
  },
  // About passwords
  'This is not the current password.': {
    de: 'Das ist nicht das aktuelle Passwort.',
    es: 'Esta no es la contraseña actual.',
    fr: "Ce n'est pas le mot de passe actuel.",
    'pt-BR': 'Esta não é a senha atual.',
    'zh-Hans': '这不是当前密码。',
    ja: '現在のパスワードではありません。'
  },
  'The password must not contain a NUL character.': {
    de: 'Das Passwort darf kein NUL-Zeichen enthalten.',
    es: 'La contraseña no puede contener un carácter NUL.',
    fr: 'Le mot de passe ne peut pas contenir de caractère NUL.',
    'pt-BR': 'A senha não pode conter um caractere NUL.',
    'zh-Hans': '密码不能包含 NUL 字符。',
    ja: 'パスワードに NUL 文字は使用できません。'
  },
  'The password must be Unicode text.': {
    de: 'Das Passwort muss Unicode-Text sein.',
    es: 'La contraseña debe ser texto Unicode.',
    fr: 'Le mot de passe doit être un texte Unicode.',
    'pt-BR': 'A senha deve ser um texto Unicode.',
    'zh-Hans': '密码必须是 Unicode 文本。',
    ja: 'パスワードは Unicode テキストでなければなりません。'
  },
  'The password must not begin or end with white space.': {
    de: 'Das Passwort darf nicht mit Leerraum beginnen oder enden.',
    es: 'La contraseña no puede empezar ni terminar con espacios en blanco.',
    fr: 'Le mot de passe ne peut ni commencer ni finir par une espace.',
    'pt-BR': 'A senha não pode começar nem terminar com espaço em branco.',
    'zh-Hans': '密码不能以空白字符开头或结尾。',
    ja: 'パスワードの先頭と末尾に空白は使用できません。'
  },
  'The password is too long: at most {} bytes are taken.': {
    de: 'Das Passwort ist zu lang: Höchstens {} Bytes sind möglich.',
    es: 'La contraseña es demasiado larga: se admiten {} bytes como máximo.',
    fr: 'Le mot de passe est trop long : {} octets au maximum.',
    'pt-BR': 'A senha é longa demais: no máximo {} bytes.',
    'zh-Hans': '密码过长：最多 {} 字节。',
    ja: 'パスワードが長すぎます。最大 {} バイトです。'
  },
  'The password must not be empty.': {
    de: 'Das Passwort darf nicht leer sein.',
    es: 'La contraseña no puede estar vacía.',
    fr: 'Le mot de passe ne peut pas être vide.',
    'pt-BR': 'A senha não pode estar vazia.',
    'zh-Hans': '密码不能为空。',
    ja: 'パスワードは空にできません。'
  },
  'The password is too short: at least {} characters are needed.': {
    de: 'Das Passwort ist zu kurz: Mindestens {} Zeichen sind nötig.',
    es: 'La contraseña es demasiado corta: se necesitan al menos {} caracteres.',
    fr: 'Le mot de passe est trop court : il faut au moins {} caractères.',
    'pt-BR': 'A senha é curta demais: são necessários pelo menos {} caracteres.',
    'zh-Hans': '密码过短：至少需要 {} 个字符。',
    ja: 'パスワードが短すぎます。{} 文字以上が必要です。'
  },
  'The password is too close to the username or to the name of the service.': {
    de: 'Das Passwort ist dem Benutzernamen oder dem Namen des Dienstes zu ähnlich.',
    es: 'La contraseña se parece demasiado al nombre de usuario o al nombre del servicio.',
    fr: "Le mot de passe ressemble trop au nom d'utilisateur ou au nom du service.",
    'pt-BR': 'A senha é parecida demais com o nome de usuário ou com o nome do serviço.',
    'zh-Hans': '密码与用户名或服务名称过于相似。',
    ja: 'パスワードがユーザー名またはサービス名に似すぎています。'
  },
  'The password is too common: many people use it.': {
    de: 'Das Passwort ist zu verbreitet: Viele Menschen benutzen es.',
    es: 'La contraseña es demasiado común: la usa mucha gente.',
    fr: "Le mot de passe est trop courant : beaucoup de gens l'utilisent.",
    'pt-BR': 'A senha é comum demais: muitas pessoas a usam.',
    'zh-Hans': '密码过于常见：许多人都在使用。',
    ja: 'パスワードが一般的すぎます。多くの人が使っています。'
  }
} as const satisfies Record<string, Readonly<Record<OtherLanguage, string>>>

/** A sentence as it is in English, its value still to be put in. */
export type Sentence = keyof typeof translations

/** A sentence with its value in place: `Method "${string}" not allowed.` */
export type Told<S extends string = Sentence> = S extends `${infer Before}{}${infer After}`
  ? `${Before}${string}${After}`
  : S
