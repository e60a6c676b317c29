/*
 * Whether forgeries.ts would notice: each mutant is this build without one of its checks, made by replacing text in a copy of
 * the compiled files. At least one forgery must get through it. Three checks of src/tokens/jws.ts have no mutant, since
 * @fastify/jwt makes them again: the number of parts, that no part is empty, and that the header is an object.
 */
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import t, { type Test } from 'tap'
import type { Environment } from '../../src/config/load.ts'
import type { openApp } from '../support/app.ts'
import { makeKeyPair } from '../support/forger.ts'
import { type Forgery, forge } from './forgeries.ts'
import { addressed, besiege, knock } from './siege.ts'

interface Mutant {
  readonly name: string
  /** Compiled file, what stands there once, and what takes its place. */
  readonly edits: readonly (readonly [file: string, from: string, to: string])[]
  /** Which forgeries may get through; the first one is reported. */
  readonly lets: RegExp
  /** Where the missing check shows; a shared secret unless said otherwise. */
  readonly where?: keyof typeof services
}

const rsa = makeKeyPair('RS256').text
const services = {
  secret: { SIGNING_KEY: makeKeyPair('HS256').text, ALGORITHM: 'HS256', ...addressed },
  rsa: { SIGNING_KEY: rsa, ALGORITHM: 'RS256', ...addressed },
  managed: {}
} satisfies Record<string, Environment>

const jws = 'src/tokens/jws.js'
const claims = 'src/tokens/claims.js'
const refresh = 'src/tokens/refresh.js'
const codec = 'src/tokens/codec.js'
const plugin = 'plugins/jwt.js'

const without = (file: string, check: string): Mutant['edits'] => [[file, check, 'false']]
const anyClaim = (name: string): RegExp => new RegExp(`^claimTypes: ${name} `)

const mutants: readonly Mutant[] = [
  { name: 'the length is not bounded', edits: without(jws, 'token.length > maxTokenLength'), lets: /^lengths/ },
  {
    name: 'base64url need not be canonical',
    edits: [[jws, "text !== '' && bytes.toString('base64url') === text", "text !== ''"]],
    lets: /^spellings: .* stray bits/
  },
  {
    name: 'bytes need not be UTF-8',
    edits: [[jws, 'bytes !== undefined && isUtf8(bytes)', 'bytes !== undefined']],
    lets: /^payloads: .*(UTF-8|character)/
  },
  {
    name: 'a header may name a member twice',
    edits: without(jws, 'namesTwice(json, header)'),
    lets: /^twiceNamed: header/
  },
  {
    name: 'a payload may name a member twice',
    edits: without(codec, 'namesTwice(jws.payload, payload)'),
    lets: /^twiceNamed: payload/
  },
  {
    name: 'a name is compared as it is spelled',
    edits: [[jws, 'JSON.parse(text.slice(0, -isName.length))', 'text.slice(0, -isName.length)']],
    lets: /^twiceNamed: .*\\u00/
  },
  {
    name: 'only the outermost object is searched for names',
    edits: [[jws, 'if (scope?.has(name))', 'if (scopes.length === 1 && scope?.has(name))']],
    lets: /^twiceNamed: .*"y"/
  },
  { name: 'crit is ignored', edits: without(jws, 'header.crit !== undefined'), lets: /^critical/ },
  {
    name: 'kid may be anything',
    edits: without(jws, "header.kid !== undefined && typeof header.kid !== 'string'"),
    lets: /^keyNames: kid .* signed rightly/
  },
  {
    name: 'a key takes every algorithm of its family',
    edits: [[plugin, 'algorithms: [algorithm], ', '']],
    lets: /^confusedKeys: HS\d+ signed with/
  },
  {
    name: 'an RSA key takes every algorithm of its family',
    edits: [[plugin, 'algorithms: [algorithm], ', '']],
    lets: /^confusedKeys: [RP]S\d+ signed with/,
    where: 'rsa'
  },
  {
    name: 'an unknown kid means the signing key',
    edits: [[codec, '? this.#unnamed :', '? [this.#signing] :']],
    lets: /^keyNames: .*signed rightly/,
    where: 'managed'
  },
  {
    name: 'the signature is not looked at',
    edits: [[plugin, 'host.jwt.verify(token)', 'host.jwt.decode(token)']],
    lets: /^bitFlips|^unsigned|^signatures/
  },
  {
    name: 'a header that is known need not be signed',
    edits: [
      [
        codec,
        'payload = checkSignature(keys, token)',
        'payload = this.#byHead.has(jws.head) ? JSON.parse(jws.payload) : checkSignature(keys, token)'
      ]
    ],
    lets: /^bitFlips|^signatures/
  },
  {
    name: 'the cache forgets the signature',
    edits: [
      [codec, 'verified.get(token)', "verified.get(token.slice(0, token.lastIndexOf('.')))"],
      [codec, 'verified.set(token, payload)', "verified.set(token.slice(0, token.lastIndexOf('.')), payload)"]
    ],
    lets: /part 3|signature/
  },
  { name: 'exp may be of any type', edits: without(claims, '!isOptional(exp, isExpiry)'), lets: anyClaim('exp') },
  { name: 'iat may be of any type', edits: without(claims, '!isOptional(iat, isTime)'), lets: anyClaim('iat') },
  { name: 'nbf may be of any type', edits: without(claims, '!isOptional(nbf, isTime)'), lets: anyClaim('nbf') },
  {
    name: 'a time may be without end',
    edits: [[claims, ' && Number.isFinite(value)', '']],
    lets: /^claimTypes: nbf -1e400/
  },
  {
    name: 'exp may be beyond any date',
    edits: [[claims, ' && value <= endOfTime', '']],
    lets: /^claimValues: expires beyond/
  },
  { name: 'jti may be of any type', edits: without(claims, '!isOptional(jti, isId)'), lets: anyClaim('jti') },
  { name: 'sub may be of any type', edits: without(claims, '!isOptional(sub, isId)'), lets: anyClaim('sub') },
  {
    name: 'iss may be of any type',
    edits: without(claims, '!isOptional(iss, isText)'),
    lets: anyClaim('iss'),
    where: 'managed'
  },
  { name: 'aud may be of any type', edits: without(claims, '!isOptional(aud, isAudience)'), lets: anyClaim('aud') },
  { name: 'sid may be of any type', edits: without(claims, '!isOptional(sid, isId)'), lets: anyClaim('sid') },
  { name: 'gen may be of any type', edits: without(claims, '!isOptional(gen, isGeneration)'), lets: anyClaim('gen') },
  {
    name: 'user_id may be of any type',
    edits: without(claims, '!isOptional(user_id, isUserId)'),
    lets: anyClaim('user_id')
  },
  {
    name: 'an id may contain NUL',
    edits: [[claims, " && !value.includes('\\0')", '']],
    lets: /^claimTypes: (sub|user_id) .*u0000/
  },
  {
    name: 'an id may contain half of a surrogate pair',
    edits: [[claims, ' && value.isWellFormed()', '']],
    lets: /^claimTypes: (sub|user_id) .*ud/
  },
  {
    name: 'exp is not compared',
    edits: without(claims, 'exp !== undefined && exp <= now - rules.leeway'),
    lets: /^claimValues: expired/
  },
  {
    name: 'exp may be this very second',
    edits: [[claims, 'exp <= now - rules.leeway', 'exp < now - rules.leeway']],
    lets: /^claimValues: expired now/
  },
  {
    name: 'exp need not be there',
    edits: [[claims, 'if (exp === undefined)', 'if (false)']],
    lets: /^claimValues: without exp/
  },
  { name: 'jti need not be there', edits: without(claims, 'jti === undefined'), lets: /^claimValues: without jti/ },
  {
    name: 'nbf is not compared',
    edits: without(claims, 'nbf !== undefined && nbf > now + rules.leeway'),
    lets: /^claimValues: not before/
  },
  {
    name: 'iat is not compared',
    edits: without(claims, 'iat !== undefined && iat > now + rules.leeway + issueSkew'),
    lets: /^claimValues: issued/
  },
  {
    name: 'iss is not compared',
    edits: without(claims, 'rules.issuer !== undefined && iss !== rules.issuer'),
    lets: /^claimValues: iss/
  },
  {
    name: 'aud is not compared',
    edits: without(claims, 'rules.audience.length > 0 && !isForUs(aud, rules.audience)'),
    lets: /^claimValues: aud/
  },
  {
    name: 'the jti of a refresh token need not be derived',
    edits: [[refresh, `equalInConstantTime(jti, jtiOf(place, custom))`, 'true']],
    lets: /^sessions: a refresh token (of the next|under)/
  },
  {
    name: 'a refresh token that is not ours is looked at as any other',
    edits: [
      [
        refresh,
        "throw new KeyturnError('TOKEN_INVALID', { detail: 'the claims of a refresh token of ours",
        "return undefined && ({ detail: 'the claims of a refresh token of ours"
      ]
    ],
    lets: /^sessions: a refresh token/
  },
  {
    name: 'revocations are ignored',
    edits: without('src/flows/verify.js', 'revocations.has(claims)'),
    lets: /^sessions: an access token/
  }
]

const dist = fileURLToPath(new URL('../..', import.meta.url))
const root = join(dist, '..')

/** A copy of the build with `edits`, ready to be imported; removed with `t`. */
function copyBuild(t: Test, edits: Mutant['edits']): string {
  const folder = mkdtempSync(join(tmpdir(), 'keyturn-mutant-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  // Packages, scripts and migrations are found from the folder above.
  for (const name of ['node_modules', 'src', 'package.json']) symlinkSync(join(root, name), join(folder, name))
  const copy = join(folder, 'dist')
  for (const name of ['src', 'plugins', 'routes', 'test/support'])
    cpSync(join(dist, name), join(copy, name), { recursive: true, filter: (path) => !path.endsWith('.map') })
  for (const [file, from, to] of edits) {
    const path = join(copy, file)
    const text = readFileSync(path, 'utf8')
    t.equal(text.split(from).length, 2, `${file} has this once: ${from}`)
    writeFileSync(
      path,
      text.replace(from, () => to)
    )
  }
  return copy
}

/** The first forgery of `lets` that gets through, if any does. */
async function breach(t: Test, mutant: Mutant): Promise<Forgery | undefined> {
  const copy = copyBuild(t, mutant.edits)
  const { openApp: open }: { openApp: typeof openApp } = await import(
    pathToFileURL(join(copy, 'test/support/app.js')).href
  )
  const { service, target } = await besiege(t, services[mutant.where ?? 'secret'], open)
  for (const forgery of forge(target)) {
    if (!mutant.lets.test(forgery.name)) continue
    await knock(service, forgery.original)
    if ((await knock(service, forgery.token)) === 'taken') return forgery
  }
  return undefined
}

for (const mutant of mutants) {
  t.test(mutant.name, async (t) => {
    const forgery = await breach(t, mutant)
    t.ok(forgery !== undefined, `a forgery gets through: ${forgery?.name}`)
  })
}

t.test('without an edit nothing gets through', async (t) => {
  for (const where of ['secret', 'managed'] as const) {
    t.equal(
      (await breach(t, { name: 'none', edits: [], lets: /^(keyNames|critical|claim|sessions)/, where }))?.name,
      undefined
    )
  }
})
