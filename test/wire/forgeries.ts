/*
 * What an attacker, or a service that shares the key, may present as a token. Each forgery is made of an original that is
 * good, and differs from it in one thing. Those said to be signed rightly bear a true signature over what they changed: only
 * the check of that very thing can refuse them.
 */
import { createHmac, createSecretKey, type KeyObject, randomBytes } from 'node:crypto'
import { type AlgorithmName, algorithms } from '../../src/keys/algorithms.ts'
import {
  decodePart,
  encode,
  joinSigned,
  type KeyPair,
  makeCertificate,
  makeKeyPair,
  signatureOf
} from '../support/forger.ts'

/** A service under attack, and what is known of it. */
export interface Target {
  readonly algorithm: AlgorithmName
  readonly pair: KeyPair
  /** Signs refresh tokens. */
  readonly refreshKey: { readonly algorithm: AlgorithmName; readonly key: KeyObject }
  /** Good tokens of a session that lives, and the access token of one that is over. */
  readonly access: string
  readonly refresh: string
  readonly ended: string
  readonly now: number
  /** Keys are managed, so that every token of ours names its key. */
  readonly isManaged: boolean
  /** Whether ISSUER and AUDIENCE are set. */
  readonly isAddressed: boolean
}

export interface Forgery {
  readonly name: string
  readonly token: string
  /** The good token that it was made of. */
  readonly original: string
}

/** Every token this long is read, and no longer one. */
const longest = 4096

/** All forgeries for a target, made one after the other as they are asked for. */
export function* forge(target: Target): Generator<Forgery> {
  const craft = makeCraft(target)
  for (const group of [
    bitFlips,
    unsigned,
    confusedKeys,
    embeddedKeys,
    keyNames,
    spellings,
    signatures,
    shapes,
    twiceNamed,
    critical,
    claimTypes,
    claimValues,
    payloads,
    lengths,
    sessions
  ]) {
    for (const [name, token, original = craft.baseline] of group(target, craft)) {
      yield { name: `${group.name}: ${name}`, token, original }
    }
  }
}

type Row = readonly [name: string, token: string, original?: string]
type Group = (target: Target, craft: Craft) => Iterable<Row>

/** What tokens are made with. */
interface Craft {
  readonly header: Record<string, unknown>
  readonly claims: Record<string, unknown>
  /** The three parts of the original access token. */
  readonly parts: readonly [string, string, string]
  /** Signed rightly: parts as they are, or a header and a payload as JSON or text. */
  readonly join: (head: string, body: string) => string
  readonly sign: (payload?: unknown, header?: unknown) => string
  /** The original's claims, signed rightly. */
  readonly baseline: string
}

function makeCraft({ algorithm, pair, access }: Target): Craft {
  const header = decodePart(access, 0)
  const claims = decodePart(access, 1)
  const join = (head: string, body: string): string => joinSigned(algorithm, pair.privateKey, head, body)
  const sign = (payload: unknown = claims, head: unknown = header): string => join(encode(head), encode(payload))
  return { header, claims, parts: access.split('.') as [string, string, string], join, sign, baseline: sign() }
}

/** Each bit here and there of each part. */
const bitFlips: Group = function* bitFlips({ access }, { parts }) {
  for (const [part, text] of parts.entries()) {
    const bytes = Buffer.from(text, 'base64url')
    const places = [0, 1, bytes.length >> 2, bytes.length >> 1, bytes.length - 2, bytes.length - 1]
    for (const at of new Set(places)) {
      for (const bit of [0, 3, 7]) {
        const flipped = Buffer.from(bytes)
        flipped[at]! ^= 1 << bit
        const changed = parts.with(part, encode(flipped))
        yield [`bit ${bit} of byte ${at} of part ${part + 1}`, changed.join('.'), access]
      }
    }
  }
}

const unsigned: Group = function* unsigned({ access }, { header, claims, parts, sign }) {
  for (const alg of ['none', 'None', 'NONE', 'nOnE', '', ' none', 'none\0', undefined, null, 0, false, ['none'], {}]) {
    const name = `alg ${JSON.stringify(alg)}`
    const head = encode({ ...header, alg })
    yield [`${name} without a signature`, `${head}.${parts[1]}.`, access]
    yield [`${name} without the last dot`, `${head}.${parts[1]}`, access]
    yield [`${name} with the signature of the original`, `${head}.${parts[1]}.${parts[2]}`, access]
    yield [`${name} signed rightly`, sign(claims, { ...header, alg })]
  }
  yield ['nothing but alg none', `${encode({ alg: 'none' })}.${parts[1]}.`, access]
  yield ['the signature left out', `${parts[0]}.${parts[1]}.`, access]
}

/** The public key as the secret of an HMAC, in every form it can be had; and right keys under other algorithms. */
const confusedKeys: Group = function* confusedKeys(
  { algorithm, pair, refreshKey, access },
  { header, claims, sign, parts }
) {
  const hmac = (alg: AlgorithmName, secret: string | Buffer): string =>
    joinSigned(alg, createSecretKey(Buffer.from(secret)), encode({ ...header, alg }), encode(claims))
  for (const [name, secret] of publicForms(pair, header.kid)) {
    yield [`HS256 with the ${name}`, hmac('HS256', secret)]
    if (algorithm.endsWith('512') || algorithm.endsWith('384')) yield [`HS512 with the ${name}`, hmac('HS512', secret)]
  }
  for (const alg of Object.keys(algorithms) as AlgorithmName[]) {
    if (alg === algorithm) continue
    yield [`${alg} with the signature of ${algorithm}`, sign(claims, { ...header, alg })]
    const made = tryToSign(alg, pair.privateKey, `${encode({ ...header, alg })}.${parts[1]}`)
    if (made !== undefined) yield [`${alg} signed with the key for ${algorithm}`, made, access]
  }
  for (const alg of [algorithm.toLowerCase(), `${algorithm} `, 'Ed25519', 'ES256K', 'RS1', 'HS1', 'dir']) {
    yield [`alg ${JSON.stringify(alg)} signed rightly`, sign(claims, { ...header, alg })]
  }
  if (pair.publicKey === undefined) {
    for (const secret of [
      pair.text.trim().slice(1),
      `${pair.text}\n`,
      pair.text.toUpperCase(),
      Buffer.from(pair.text, 'base64')
    ]) {
      yield ['another spelling of the secret', hmac(algorithm, secret)]
    }
  } else {
    const head = encode({ ...header, alg: refreshKey.algorithm })
    yield [
      'the key of refresh tokens under the kid of access tokens',
      joinSigned(refreshKey.algorithm, refreshKey.key, head, parts[1])
    ]
  }
}

function tryToSign(alg: string, key: KeyObject, input: string): string | undefined {
  try {
    return `${input}.${encode(signatureOf(alg, key, input))}`
  } catch {
    return undefined // an RSA key makes no ECDSA signature
  }
}

/** What of a key anybody can know; of a secret, what many try. */
function publicForms(
  { publicKey, privateKey }: KeyPair,
  kid: unknown
): readonly (readonly [string, string | Buffer])[] {
  const guesses = [
    ['empty text', ''],
    ['kid', String(kid)],
    ['word secret', 'secret']
  ] as const
  if (publicKey === undefined) return guesses
  const pem = publicKey.export({ type: 'spki', format: 'pem' }) as string
  const jwk = publicKey.export({ format: 'jwk' }) as Record<string, string>
  const certificate = makeCertificate(privateKey)
  const coordinates = Buffer.concat([jwk.x ?? '', jwk.y ?? ''].map((each) => Buffer.from(each, 'base64url')))
  const common: readonly (readonly [string, string | Buffer])[] = [
    ...guesses,
    ['SPKI PEM', pem],
    ['SPKI PEM without its last newline', pem.trimEnd()],
    ['SPKI PEM with CRLF', pem.replaceAll('\n', '\r\n')],
    ['SPKI PEM on one line', pem.replaceAll('\n', '\\n')],
    ['body of the SPKI PEM', pem.replaceAll(/-----.*?-----|\n/g, '')],
    ['SPKI DER', publicKey.export({ type: 'spki', format: 'der' })],
    ['JWK', JSON.stringify(jwk)],
    ['JWKS', JSON.stringify({ keys: [jwk] })],
    ['certificate PEM', certificate],
    ['certificate PEM without its last newline', certificate.trimEnd()],
    ['certificate DER', Buffer.from(certificate.replaceAll(/-----.*?-----|\n/g, ''), 'base64')]
  ]
  if (jwk.kty !== 'RSA')
    return [
      ...common,
      ['coordinates', coordinates],
      ['point', Buffer.from([4, ...coordinates])],
      ['x as text', jwk.x ?? '']
    ]
  const pkcs1 = publicKey.export({ type: 'pkcs1', format: 'pem' }) as string
  return [
    ...common,
    ['PKCS#1 PEM', pkcs1],
    ['PKCS#1 PEM without its last newline', pkcs1.trimEnd()],
    ['PKCS#1 DER', publicKey.export({ type: 'pkcs1', format: 'der' })],
    ['modulus', Buffer.from(jwk.n ?? '', 'base64url')],
    ['modulus as text', jwk.n ?? '']
  ]
}

/** A key of the attacker's own, offered along with the token. */
const embeddedKeys: Group = function* embeddedKeys({ algorithm }, { header, claims }) {
  const own = makeKeyPair(algorithm)
  const sign = (extra: object): string =>
    joinSigned(algorithm, own.privateKey, encode({ ...header, ...extra }), encode(claims))
  const exported = own.publicKey?.export({ format: 'jwk' }) ?? { kty: 'oct', k: encode(own.text) }
  const jwk = { ...exported, kid: 'mine', alg: algorithm, use: 'sig' }
  yield ["another's key", sign({})]
  yield ["another's key without a kid", sign({ kid: undefined })]
  yield ['jwk', sign({ jwk })]
  yield ['jwk under its own kid', sign({ jwk, kid: 'mine' })]
  yield ['jwk without a kid', sign({ jwk, kid: undefined })]
  yield ['jwks', sign({ jwks: { keys: [jwk] }, kid: 'mine' })]
  for (const name of ['jku', 'x5u']) {
    for (const url of [
      'https://attacker.example/keys.json',
      'http://127.0.0.1:9/keys.json',
      'file:///dev/stdin',
      `data:,${JSON.stringify(jwk)}`
    ]) {
      yield [`${name} ${url.slice(0, 24)}`, sign({ [name]: url, kid: 'mine' })]
    }
  }
  yield ['x5c', sign({ x5c: [encode(JSON.stringify(jwk))], 'x5t#S256': encode(randomBytes(32)) })]
  yield ['epk', sign({ epk: jwk, apu: 'x' })]
}

const keyNames: Group = function* keyNames(
  { algorithm, pair, refresh, refreshKey, isManaged, access },
  { header, claims, sign, parts }
) {
  for (const kid of [5, 0, true, false, null, {}, [], [header.kid], { toString: header.kid }]) {
    yield [`kid ${JSON.stringify(kid)} signed rightly`, sign(claims, { ...header, kid })]
  }
  const own = makeKeyPair(algorithm)
  for (const kid of [
    '../../../../dev/null',
    "' UNION SELECT 'x' --",
    '__proto__',
    'constructor',
    'toString',
    '',
    'x'.repeat(200),
    '| cat'
  ]) {
    const head = encode({ ...header, kid })
    yield [
      `kid ${kid.slice(0, 24)}, signed with nothing`,
      joinSigned('HS256', createSecretKey(Buffer.alloc(0)), encode({ ...header, alg: 'HS256', kid }), parts[1]),
      access
    ]
    yield [
      `kid ${kid.slice(0, 24)}, signed with another's key`,
      joinSigned(algorithm, own.privateKey, head, parts[1]),
      access
    ]
    yield [`kid ${kid.slice(0, 24)} in place of its own`, `${head}.${parts[1]}.${parts[2]}`, access]
    if (isManaged) yield [`kid ${kid.slice(0, 24)} signed rightly`, sign(claims, { ...header, kid })]
  }
  const foreign = decodePart(refresh, 0).kid
  if (pair.publicKey !== undefined) {
    yield ['the kid of refresh tokens on an access token', sign(claims, { ...header, kid: foreign })]
    const head = encode({ ...header, kid: foreign, alg: refreshKey.algorithm })
    yield ['the same, with the signature of the original', `${head}.${parts[1]}.${parts[2]}`, access]
  }
  if (isManaged) yield ['no kid, signed rightly', sign(claims, { ...header, kid: undefined })]
}

/** The same bytes spelled in another way: what differs is nothing but the text. */
const spellings: Group = function* spellings({ access }, { parts, join, claims, header, sign }) {
  const [head, body, signature] = parts
  // A part whose length leaves no stray bits has another spelling by one character too many, the others by their last one.
  const stray = (text: string): string =>
    text.length % 4 === 0 ? `${text}A` : text.slice(0, -1) + alphabet[alphabet.indexOf(text.at(-1) ?? '') ^ 1]
  const respelled: readonly (readonly [string, (text: string) => string])[] = [
    ['padded', (text) => text.padEnd(Math.ceil((text.length + 1) / 4) * 4, '=')],
    ['padded with one =', (text) => `${text}=`],
    ['with stray bits', stray],
    ['with a blank inside', (text) => `${text.slice(0, 7)} ${text.slice(7)}`],
    ['with a line break inside', (text) => `${text.slice(0, 7)}\n${text.slice(7)}`],
    ['with CRLF inside', (text) => `${text.slice(0, 7)}\r\n${text.slice(7)}`],
    ['with a tab at its end', (text) => `${text}\t`],
    ['with a byte order mark', (text) => `\ufeff${text}`],
    ['with a zero width space', (text) => `${text.slice(0, 7)}\u200b${text.slice(7)}`],
    ['with a hard blank', (text) => `${text.slice(0, 7)}\u00a0${text.slice(7)}`],
    ['with a character of no alphabet', (text) => `${text.slice(0, 7)}*${text.slice(7)}`],
    ['with percent signs', (text) => `${text.slice(0, 7)}%${text.charCodeAt(7).toString(16)}${text.slice(8)}`],
    ['in wide letters', (text) => String.fromCodePoint(text.charCodeAt(0) + 0xfee0) + text.slice(1)]
  ]
  for (const [name, respell] of respelled) {
    yield [`header ${name}, signed rightly`, join(respell(head), body)]
    yield [`payload ${name}, signed rightly`, join(head, respell(body))]
    // White space at the very end is trimmed, as Django REST framework trims every field.
    if (!respell(signature).endsWith('\t')) yield [`signature ${name}`, `${head}.${body}.${respell(signature)}`, access]
  }
  const dashed = ['>>>>', '????', '~~~~'].flatMap((text) =>
    ['', 'x', 'xx'].map((pad) => sign({ ...claims, text: pad + text }))
  )
  for (const token of dashed.filter((each) => /[-_]/.test(each)).slice(0, 4)) {
    yield ['with + and / of base64', token.replaceAll('-', '+').replaceAll('_', '/'), token]
    const [first, second] = token.split('.') as [string, string, string]
    const plain = second.replaceAll('-', '+').replaceAll('_', '/')
    if (plain !== second) yield ['payload with + and /, signed rightly', join(first, plain), token]
  }
  yield ['a byte order mark before', `\ufeff${access}`, access]
  yield ['a byte order mark after', `${access}\ufeff`, access]
  yield ['a zero width space before', `\u200b${access}`, access]
  yield ['wide dots', access.replaceAll('.', '\uff0e'), access]
  yield [
    'header with blanks in its JSON, by the old signature',
    `${encode(JSON.stringify(header, null, 1))}.${body}.${signature}`,
    access
  ]
}

const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'

/** Order of the curve's group (SEC 2 §2.4.2, §2.5.1, §2.6.1), and how many bytes r and s have. */
const curves: Readonly<Record<string, { readonly order: bigint; readonly bytes: number }>> = {
  ES256: { order: 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n, bytes: 32 },
  ES384: {
    order: 0xffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973n,
    bytes: 48
  },
  ES512: {
    order:
      0x01fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409n,
    bytes: 66
  }
}

const toBytes = (value: bigint, length: number): Buffer =>
  Buffer.from(value.toString(16).padStart(2 * length, '0'), 'hex')
const toNumber = (bytes: Buffer): bigint => BigInt(`0x${bytes.toString('hex')}`)
const derInteger = (bytes: Buffer): Buffer => {
  const trimmed = bytes.subarray(
    Math.max(
      0,
      bytes.findIndex((byte) => byte !== 0)
    )
  )
  const value = (trimmed[0] ?? 0) >= 0x80 ? Buffer.from([0, ...trimmed]) : trimmed
  return Buffer.from([2, value.length, ...value])
}

/** Signatures that are none: for each kind of algorithm what has been taken for one before. */
const signatures: Group = function* signatures(target, { parts }) {
  const { algorithm, access, pair } = target
  const bytes = Buffer.from(parts[2], 'base64url')
  const input = `${parts[0]}.${parts[1]}`
  const all: [string, Buffer][] = [
    ['of zeros', Buffer.alloc(bytes.length)],
    ['of ones', Buffer.alloc(bytes.length, 0xff)],
    ['cut by a byte', bytes.subarray(0, -1)],
    ['cut to half', bytes.subarray(0, bytes.length / 2)],
    ['cut to a byte', bytes.subarray(0, 1)],
    ['without its first byte', bytes.subarray(1)],
    ['with a zero after', Buffer.from([...bytes, 0])],
    ['with a zero before', Buffer.from([0, ...bytes])],
    ['twice', Buffer.concat([bytes, bytes])],
    ['backwards', Buffer.from(bytes).reverse()],
    ['as hex', Buffer.from(bytes.toString('hex'))],
    ['as base64url once more', Buffer.from(parts[2])],
    ['of random bytes', randomBytes(bytes.length)]
  ]
  const curve = curves[algorithm]
  if (curve !== undefined) {
    const { order, bytes: length } = curve
    const [r, s] = [bytes.subarray(0, length), bytes.subarray(length)]
    const [zero, one, n] = [Buffer.alloc(length), toBytes(1n, length), toBytes(order, length)]
    const body = Buffer.concat([derInteger(r), derInteger(s)])
    const pairs: readonly (readonly [string, Buffer, Buffer])[] = [
      ['r = 0', zero, s],
      ['s = 0', r, zero],
      ['r = 1, s = 0', one, zero],
      ['r = 0, s = 1', zero, one],
      ['r = s = 1', one, one],
      ['r = n', n, s],
      ['s = n', r, n],
      ['r = s = n', n, n],
      ['r = n, s = 0', n, zero],
      ['s of ones', r, Buffer.alloc(length, 0xff)],
      ['r of ones', Buffer.alloc(length, 0xff), s],
      ['s = n + 1', r, toBytes(order + 1n, length)],
      ['s = n - 1', r, toBytes(order - 1n, length)],
      ['r and s swapped', s, r],
      ['r = s', r, r]
    ]
    all.push(...pairs.map(([name, first, second]): [string, Buffer] => [name, Buffer.concat([first, second])]))
    // Only P-521 has room for them: 521 bits in 66 bytes.
    if (toBytes(toNumber(s) + order, length).length === length)
      all.push(['s + n', Buffer.concat([r, toBytes(toNumber(s) + order, length)])])
    if (toBytes(toNumber(r) + order, length).length === length)
      all.push(['r + n', Buffer.concat([toBytes(toNumber(r) + order, length), s])])
    all.push(['in DER', Buffer.from([0x30, ...(body.length < 0x80 ? [body.length] : [0x81, body.length]), ...body])])
  }
  if (algorithm === 'EdDSA') {
    const order = 2n ** 252n + 27742317777372353535851937790883648493n
    const [r, s] = [bytes.subarray(0, 32), toNumber(Buffer.from(bytes.subarray(32)).reverse())]
    const little = (value: bigint): Buffer => toBytes(value, 32).reverse()
    const identity = little(1n)
    all.push(['S + L', Buffer.concat([r, little(s + order)])], ['S + 2L', Buffer.concat([r, little(s + 2n * order)])])
    all.push(['S = 0', Buffer.concat([r, little(0n)])], ['S = L', Buffer.concat([r, little(order)])])
    all.push(['R the identity, S = 0', Buffer.concat([identity, little(0n)])])
  }
  if (algorithms[algorithm].keyType === 'rsa') {
    const n = toNumber(Buffer.from((pair.publicKey?.export({ format: 'jwk' }).n as string) ?? '', 'base64url'))
    const s = toNumber(bytes)
    const sum = (s + n).toString(16)
    all.push(['s + n', Buffer.from(sum.padStart(sum.length + (sum.length % 2), '0'), 'hex')])
    for (const [name, value] of [
      ['s = 1', 1n],
      ['s = n', n],
      ['s = n - 1', n - 1n],
      ['n - s', n - s]
    ] as const)
      all.push([name, toBytes(value, bytes.length)])
  }
  if (algorithms[algorithm].keyType === 'secret') {
    all.push(['a bare hash', createHmac('sha256', '').update(input).digest()])
  }
  for (const [name, value] of all) yield [name, `${input}.${encode(value)}`, access]
}

/** Other numbers of parts, and what else looks like a token. */
const shapes: Group = function* shapes({ access, refresh }, { parts, header }) {
  const [head, body, signature] = parts
  const [refreshHead, refreshBody, refreshSignature] = refresh.split('.')
  const rows: readonly (readonly [string, string])[] = [
    ['one part', head],
    ['two parts', `${head}.${body}`],
    ['four parts', `${access}.${signature}`],
    ['four parts, the last empty', `${access}.`],
    ['four parts, the first empty', `.${access}`],
    [
      'five parts, as a JWE',
      `${encode({ alg: 'dir', enc: 'A256GCM', kid: header.kid })}..${body}.${signature}.${signature}`
    ],
    ['five parts of it', `${head}.${body}.${signature}.${body}.${signature}`],
    ['an empty header', `.${body}.${signature}`],
    ['an empty payload', `${head}..${signature}`],
    ['only dots', '..'],
    ['four dots', '....'],
    ['payload and header swapped', `${body}.${head}.${signature}`],
    ['header twice', `${head}.${head}.${signature}`],
    // Of a shared secret both kinds have the same header.
    ...(refreshHead === head
      ? []
      : [['the header of the refresh token', `${refreshHead}.${body}.${signature}`] as const]),
    ['the payload of the refresh token', `${head}.${refreshBody}.${signature}`],
    ['the signature of the refresh token', `${head}.${body}.${refreshSignature}`],
    ['twice', access + access],
    ['twice with a dot', `${access}.${access}`],
    ['twice with a blank', `${access} ${access}`],
    ['with Bearer before', `Bearer ${access}`],
    ['in quotes', `"${access}"`],
    ['in angle brackets', `<${access}>`],
    ['with a comma after', `${access},`],
    ['with a fragment after', `${access}#x`],
    ['as JSON', JSON.stringify({ payload: body, protected: head, signature })],
    ['as JSON with signatures', JSON.stringify({ payload: body, signatures: [{ protected: head, signature }] })],
    ['without its last character', access.slice(0, -1)],
    ['without its first character', access.slice(1)],
    ['with a character more', `${access}A`],
    ['a character doubled', access.slice(0, 9) + access.slice(8)],
    ['two characters swapped', access.slice(0, 9) + access[10] + access[9] + access.slice(11)],
    ['in capitals', access.toUpperCase()]
  ]
  for (const [name, token] of rows) yield [name, token, access]
  for (const share of [0.1, 0.3, 0.5, 0.7, 0.9, 0.97]) {
    yield [`cut to ${share}`, access.slice(0, Math.floor(access.length * share)), access]
  }
}

/** Objects that name a member twice: one parser takes the first, another the last. All signed rightly. */
const twiceNamed: Group = function* twiceNamed({ now }, { header, claims, join }) {
  const head = JSON.stringify(header)
  const body = JSON.stringify(claims)
  const more = (json: string, members: string): string => `${json.slice(0, -1)},${members}}`
  const signed = (first: string, second: string): string => join(encode(first), encode(second))
  for (const members of [
    `"alg":"${header.alg}"`,
    '"alg":"none"',
    `"kid":${JSON.stringify(header.kid)}`,
    '"typ":"JWT"',
    '"\\u0061lg":"none"',
    '"x":1,"x":1'
  ])
    yield [`header with ${members}`, signed(more(head, members), body)]
  for (const members of [
    `"exp":${now + 1e6}`,
    `"exp" : ${now + 1e6}`,
    `"\\u0065xp":${now + 1e6}`,
    '"e\\u0078p":1',
    '"user_id":"admin"',
    '"sid":"x"',
    '"jti":"x"',
    '"token_type":"access"',
    '"x":{"y":1,"y":2}',
    '"x":[1,{"y":1,"z":"}","y":2}]',
    '"x":{},"x":{}',
    '"":1,"":2',
    '"__proto__":1,"__proto__":2',
    '"a\\"b":1,"a\\"b":2',
    '"\\\\":1,"\\\\":2',
    '"x":"{","x":"}"',
    '"x":1,\n\t"x"\n:2'
  ])
    yield [`payload with ${members}`, signed(head, more(body, members))]
  yield ['payload with exp before', signed(head, `{"exp":${now - 5},${body.slice(1)}`)]
}

/** Extensions that must be understood, and we know none (RFC 7515 §4.1.11). All signed rightly, but where it says otherwise. */
const critical: Group = function* critical({ algorithm, pair, access }, { header, claims, sign, parts }) {
  for (const crit of [
    ['b64'],
    ['exp'],
    ['x'],
    ['alg'],
    ['x', 'x'],
    [''],
    [5],
    [null],
    [],
    '',
    'x',
    {},
    { length: 0 },
    0,
    5,
    false,
    true,
    null
  ]) {
    yield [`crit ${JSON.stringify(crit)}`, sign(claims, { ...header, crit })]
    yield [
      `crit ${JSON.stringify(crit)}, its extensions there`,
      sign(claims, { ...header, crit, x: 1, exp: 4_000_000_000, b64: true })
    ]
  }
  yield ['crit first in the header', sign(claims, { crit: null, ...header })]
  const plain = encode({ ...header, b64: false, crit: ['b64'] })
  const json = JSON.stringify(claims)
  const signature = encode(signatureOf(algorithm, pair.privateKey, `${plain}.${json}`))
  yield ['b64 false, the payload as it is', `${plain}.${json}.${signature}`]
  yield ['b64 false, the payload encoded', `${plain}.${parts[1]}.${signature}`]
  yield ['b64 false, the payload detached', `${plain}..${signature}`]
  const silent = encode({ ...header, b64: false })
  yield [
    'b64 false without crit',
    `${silent}.${parts[1]}.${encode(signatureOf(algorithm, pair.privateKey, `${silent}.${json}`))}`
  ]
  yield ['b64 false, by the old signature', `${silent}.${parts[1]}.${parts[2]}`, access]
}

/** A value that JSON.stringify cannot write, put in as it is. */
class Raw {
  readonly text: string
  constructor(text: string) {
    this.text = text
  }
}

function write(claims: Record<string, unknown>): string {
  const members = Object.entries(claims).flatMap(([name, value]) => {
    const text = value instanceof Raw ? value.text : JSON.stringify(value)
    return text === undefined ? [] : [`${JSON.stringify(name)}:${text}`]
  })
  return `{${members.join(',')}}`
}

/** Each claim in types it does not have. All signed rightly. */
const claimTypes: Group = function* claimTypes({ now, isAddressed }, { claims, sign }) {
  const later = now + 60
  const numbers = ['1e400', '-1e400', '1E+999'].map((text) => new Raw(text))
  const noJson = ['NaN', 'Infinity', '-Infinity', 'undefined', '0x7fffffff', '01', '+1', '.5'].map(
    (text) => new Raw(text)
  )
  const noTime: unknown[] = [
    `${later}`,
    'tomorrow',
    '',
    'NaN',
    true,
    false,
    null,
    [],
    [later],
    {},
    { valueOf: later },
    ...numbers,
    ...noJson
  ]
  const noText = [0, 5, 1.5, true, false, null, [], ['x'], {}, ...numbers]
  // PostgreSQL has neither in a text.
  const noId = [...noText, 'a\0', '\ud800']
  const wrong: Readonly<Record<string, readonly unknown[]>> = {
    exp: noTime,
    iat: noTime,
    nbf: noTime,
    jti: noId,
    sub: noId,
    sid: noId,
    gen: ['0', '', -1, 0.5, 2 ** 32 - 1, 2 ** 53, true, null, [], [0], {}, ...numbers],
    user_id: ['7\0', '7\udc00', 1.5, 2 ** 53, true, false, null, [], ['1'], {}, ...numbers],
    iss: [...noText, [claims.iss ?? 'x']],
    aud: [
      0,
      true,
      null,
      {},
      { shop: true },
      [null],
      [1],
      [['shop']],
      [claims.aud ?? 'x', 5].flat(),
      [{}],
      ...(isAddressed ? [[]] : [])
    ]
  }
  for (const [claim, values] of Object.entries(wrong)) {
    for (const value of values) {
      const text = value instanceof Raw ? value.text : JSON.stringify(value)
      yield [`${claim} ${text}`, sign(write({ ...claims, [claim]: value }))]
    }
  }
}

/** Values that are wrong now, or not there. All signed rightly. */
const claimValues: Group = function* claimValues({ now, isAddressed }, { claims, sign }) {
  const rows: [string, Record<string, unknown>][] = [
    ['expired now', { exp: now }],
    ['expired a second ago', { exp: now - 1 }],
    ['expired by a fraction', { exp: now - 0.001 }],
    ['expired in 1970', { exp: 0 }],
    ['expired before', { exp: -1 }],
    ['expired for ever', { exp: -1e300 }],
    ['expires beyond any date', { exp: 253_402_300_800 }],
    ['without exp', { exp: undefined }],
    ['without jti', { jti: undefined }],
    ['not before the next second', { nbf: now + 1 }],
    ['not before a fraction', { nbf: now + 0.001 }],
    ['not before the end of days', { nbf: 1e300 }],
    ['issued in the future', { iat: now + 6 }],
    ['issued at the end of days', { iat: 1e300 }]
  ]
  if (isAddressed) {
    const { iss } = claims as { iss: string }
    for (const other of [
      undefined,
      '',
      `${iss}/`,
      ` ${iss}`,
      iss.toUpperCase(),
      iss.slice(0, -1),
      'https://attacker.example'
    ])
      rows.push([`iss ${other}`, { iss: other }])
    for (const other of [undefined, '', 'sho', 'shop ', 'Shop', 'shop,bank', 'attacker', ['attacker'], ['shop '], ['']])
      rows.push([`aud ${JSON.stringify(other)}`, { aud: other }])
  }
  for (const [name, changes] of rows) yield [name, sign({ ...claims, ...changes })]
}

/** Headers and payloads that are not JSON objects, with valid signatures. */
const payloads: Group = function* payloads({ algorithm }, { header, claims, sign }) {
  const body = JSON.stringify(claims)
  const head = JSON.stringify(header)
  const withBytes = (json: string, bytes: readonly number[]): Buffer =>
    Buffer.concat([Buffer.from(`${json.slice(0, -1)},"x":"`), Buffer.from(bytes), Buffer.from('"}')])
  const forms = (json: string): readonly (readonly [string, unknown])[] => [
    ['an array', `[${json}]`],
    ['a text', JSON.stringify(json)],
    ['a number', '5'],
    ['null', 'null'],
    ['true', 'true'],
    ['an empty text', '""'],
    ['an empty array', '[]'],
    ['cut short', json.slice(0, -1)],
    ['with a comma too many', `${json.slice(0, -1)},}`],
    ['with something after', `${json}x`],
    ['two objects', `${json}{}`],
    ['with a NUL after', `${json}\0`],
    ['with a comment', `${json}/**/`],
    ['in single quotes', json.replaceAll('"', "'")],
    ['behind a byte order mark', `\ufeff${json}`],
    ['in UTF-16', Buffer.from(json, 'utf16le')],
    ['in UTF-16 with a mark', Buffer.from(`\ufeff${json}`, 'utf16le')],
    ['with a byte that is not UTF-8', withBytes(json, [0xff])],
    ['with UTF-8 too long for its character', withBytes(json, [0xc0, 0x80])],
    ['with a surrogate in UTF-8', withBytes(json, [0xed, 0xa0, 0x80])],
    ['with half a character', withBytes(json, [0xe2, 0x82])],
    ['with a line break in a text', withBytes(json, [10])],
    ['a dot', '.'],
    ['a blank', ' ']
  ]
  for (const [name, payload] of forms(body)) yield [`payload ${name}`, sign(payload)]
  for (const [name, first] of forms(head)) yield [`header ${name}`, sign(claims, first)]
  yield ['an empty object as payload', sign({})]
  yield ['an empty object as header', sign(claims, {})]
  yield ['deep arrays', sign(`{"exp":4000000000,"jti":"x","x":${'['.repeat(1200)}${']'.repeat(1200)}`)]
  yield ['a header with only alg, unsigned', `${encode({ alg: algorithm })}.${encode(body)}.`]
}

/** Longer than any token may be, signed rightly; the longest that may be is the original. */
const lengths: Group = function* lengths(_target, { claims, sign }) {
  const ofLength = (length: number): string => {
    // Three bytes more are four characters more.
    let text = 'x'.repeat(Math.floor(((length - sign({ ...claims, text: '' }).length) * 3) / 4) - 4)
    while (sign({ ...claims, text: `${text}x` }).length <= length) text += 'x'
    return sign({ ...claims, text })
  }
  const original = ofLength(longest)
  const { text } = decodePart(original, 1) as { text: string }
  yield [
    `of ${sign({ ...claims, text: `${text}x` }).length} characters`,
    sign({ ...claims, text: `${text}x` }),
    original
  ]
  for (const length of [4200, 8000, 12_000]) yield [`of ${length} characters`, ofLength(length), original]
  yield ['the longest, and a dot', `${original}${'.'.repeat(longest + 1 - original.length)}`, original]
}

/** Of sessions that are over, and refresh tokens that only a holder of a shared secret can have made. */
const sessions: Group = function* sessions({ ended, refresh, refreshKey, access }) {
  yield ['an access token whose session has ended', ended, access]
  const header = decodePart(refresh, 0)
  const claims = decodePart(refresh, 1)
  const sign = (changes: object): string =>
    joinSigned(refreshKey.algorithm, refreshKey.key, encode(header), encode({ ...claims, ...changes }))
  const rows: readonly (readonly [string, object])[] = [
    ['of the next generation', { gen: 1 }],
    ['of a late generation', { gen: 4_000_000_000 }],
    ["of somebody else's session", { sid: 'f'.repeat(32) }],
    ['of somebody else', { user_id: 'admin' }],
    ['under another jti', { jti: 'f'.repeat(32) }],
    ['under its jti in capitals', { jti: `A${String(claims.jti).slice(1)}` }],
    ['under an empty jti', { jti: '' }],
    ['under a jti too long', { jti: `${claims.jti}0` }],
    ['of a generation as a text', { gen: '0' }],
    ['without a session', { sid: undefined }],
    ['without a user', { user_id: undefined }]
  ]
  for (const [name, changes] of rows) yield [`a refresh token ${name}`, sign(changes), sign({})]
}
