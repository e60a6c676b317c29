/*
 * What signing and verifying cost beside bare node:crypto: `npm run build && node dist/bench/sign-verify.js [ALGORITHM ...]`.
 *
 * All sides work on the same key and the same signing input, one after the other within each round, so that a machine that
 * slows down slows them all. A figure is CPU time of the whole process (user and system, all threads) per operation, the
 * median of the rounds; what Keyturn adds is the median of each round's own ratio.
 *   bare     node:crypto and what it likes best: a KeyObject made once, one call; no base64, no JSON
 *   by hand  the least that makes a token of it, or claims of a token: JSON and base64url around the same call, nothing checked
 *   Keyturn  src/tokens/codec.ts with the keys of plugins/jwt.ts; verifying is not cached
 *   cached   a token seen before through the whole flow of POST /api/token/verify/: claims, times, revocation list
 */
import { constants, createHmac, type KeyObject, randomBytes, sign, timingSafeEqual, verify } from 'node:crypto'
import { cpus } from 'node:os'
import type { FastifyInstance } from 'fastify'
import { loadConfig } from '../src/config/load.ts'
import type { Parts } from '../src/flows/parts.ts'
import { makeVerify } from '../src/flows/verify.ts'
import { type AlgorithmName, algorithms, isSecretAlgorithm } from '../src/keys/algorithms.ts'
import { RevocationReplica } from '../src/sessions/revocations.ts'
import { systemClock } from '../src/time.ts'
import { claimRules } from '../src/tokens/claims.ts'
import type { Codec, TokenCodec } from '../src/tokens/codec.ts'
import { makeRefreshTokens } from '../src/tokens/refresh.ts'
import { makeSlidingTokens } from '../src/tokens/sliding.ts'
import { openCodec } from '../test/support/codec.ts'
import { makeKeyPair } from '../test/support/forger.ts'

const rounds = Number(process.env.ROUNDS ?? 150)
/** CPU milliseconds that one side takes in one round, about. Short, so that the sides meet the machine in the same mood. */
const slice = 3

/** Rounds that do not count: a function is compiled well only after it was called some thousand times. */
const warmUps = 50

/** Signing and verifying with nothing but node:crypto. */
interface Bare {
  readonly sign: (input: Buffer) => Buffer
  readonly verify: (input: Buffer, signature: Buffer) => boolean
}

function makeBare(algorithm: AlgorithmName, privateKey: KeyObject, publicKey: KeyObject): Bare {
  const hash = algorithm === 'EdDSA' ? null : `sha${algorithm.slice(2)}`
  if (hash !== null && isSecretAlgorithm(algorithm)) {
    const mac = (input: Buffer): Buffer => createHmac(hash, privateKey).update(input).digest()
    return { sign: mac, verify: (input, signature) => timingSafeEqual(mac(input), signature) }
  }
  const options = algorithm.startsWith('PS')
    ? { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST }
    : algorithm.startsWith('ES')
      ? { dsaEncoding: 'ieee-p1363' as const }
      : {}
  const [signing, verifying] = [
    { key: privateKey, ...options },
    { key: publicKey, ...options }
  ]
  return {
    sign: (input) => sign(hash, input, signing),
    verify: (input, signature) => verify(hash, input, verifying, signature)
  }
}

/** CPU microseconds for each of `count` calls. */
function timed(count: number, work: (index: number) => unknown): number {
  const began = process.cpuUsage()
  for (let index = 0; index < count; index++) work(index)
  const { user, system } = process.cpuUsage(began)
  return (user + system) / count
}

async function timedAsync(count: number, work: (index: number) => Promise<unknown>): Promise<number> {
  const began = process.cpuUsage()
  for (let index = 0; index < count; index++) await work(index)
  const { user, system } = process.cpuUsage(began)
  return (user + system) / count
}

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0

/** How many calls take a slice. */
function calibrate(work: (index: number) => unknown): number {
  timed(20, work)
  return Math.max(2, Math.min(2000, Math.round((slice * 1000) / timed(20, work))))
}

const sides = ['bareSign', 'handSign', 'sign', 'bareVerify', 'handVerify', 'verify', 'cached'] as const
const ratios = ['addedToSign', 'addedToVerify'] as const
type Figures = Record<(typeof sides)[number] | (typeof ratios)[number], number>

async function measure(algorithm: AlgorithmName): Promise<Figures> {
  const pair = makeKeyPair(algorithm)
  const app = await openCodec({ SIGNING_KEY: pair.text, ALGORITHM: algorithm })
  try {
    return await compare(app, makeBare(algorithm, pair.privateKey, pair.publicKey ?? pair.privateKey))
  } finally {
    await app.close()
  }
}

async function compare({ codec, keyring }: FastifyInstance, bare: Bare): Promise<Figures> {
  const now = systemClock()
  // What production signs: an access token of a user whose id is a UUID.
  const claims = (index: number): object => ({
    token_type: 'access',
    exp: now + 3600,
    iat: now,
    jti: index.toString(16).padStart(32, '0'),
    user_id: '69ba1b56-9fc2-403c-b096-3f3650e1f4fe',
    sid: '0123456789abcdef0123456789abcdef'
  })
  const header = { alg: keyring.keys().signing.algorithm, typ: 'JWT', kid: keyring.keys().signing.kid }
  const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const signByHand = (index: number): string => {
    const input = `${encode(header)}.${encode(claims(index))}`
    return `${input}.${bare.sign(Buffer.from(input)).toString('base64url')}`
  }
  const verifyByHand = (token: string): object | undefined => {
    const [head = '', body = '', signature = ''] = token.split('.')
    JSON.parse(Buffer.from(head, 'base64url').toString())
    const isGood = bare.verify(Buffer.from(`${head}.${body}`), Buffer.from(signature, 'base64url'))
    return isGood ? JSON.parse(Buffer.from(body, 'base64url').toString()) : undefined
  }

  const input = Buffer.from(codec.sign('access', claims(0)).replace(/\.[^.]*$/, ''))
  const signed = bare.sign(input)
  const signCount = calibrate(() => bare.sign(input))
  const tokens = Array.from(
    {
      length: Math.min(
        calibrate(() => bare.verify(input, signed)),
        4000
      )
    },
    (_, index) => codec.sign('access', claims(index))
  )
  const parsed = tokens.map((token) => {
    const dot = token.lastIndexOf('.')
    return [Buffer.from(token.slice(0, dot)), Buffer.from(token.slice(dot + 1), 'base64url')] as const
  })
  const tokenAt = (index: number): string => tokens[index % tokens.length] as string
  const verifyFlow = makeVerifyFlow(codec)
  // The codec empties its cache when it is given its keys.
  const forget = () => (codec as Codec).use(keyring.keys())

  const rows: Figures[] = []
  for (let round = -warmUps; round < rounds; round++) {
    await forget()
    const figures = {
      bareSign: timed(signCount, () => bare.sign(input)),
      handSign: timed(signCount, signByHand),
      sign: timed(signCount, (index) => codec.sign('access', claims(index))),
      bareVerify: timed(tokens.length, (index) => bare.verify(...(parsed[index] as (typeof parsed)[0]))),
      handVerify: timed(tokens.length, (index) => verifyByHand(tokenAt(index))),
      verify: timed(tokens.length, (index) => codec.read(tokenAt(index))),
      cached: await timedAsync(tokens.length * 10, (index) => verifyFlow(tokenAt(index)))
    }
    const addedToSign = figures.sign / figures.bareSign - 1
    const addedToVerify = figures.verify / figures.bareVerify - 1
    if (round >= 0) rows.push({ ...figures, addedToSign, addedToVerify })
  }
  return Object.fromEntries(
    [...sides, ...ratios].map((name) => [name, median(rows.map((row) => row[name]))])
  ) as Figures
}

/** The flow of POST /api/token/verify/ with what it needs for an access token; a list of 10,000 revocations beside it. */
function makeVerifyFlow(codec: TokenCodec): (token: string) => Promise<unknown> {
  const rules = claimRules(loadConfig({}))
  const revocations = new RevocationReplica({ window: 3600, staleness: 3600 }, systemClock)
  revocations.add(
    Array.from({ length: 10_000 }, (_, index) => ({
      kind: 'sid' as const,
      id: `${index}`,
      position: `${index}`,
      revokedAt: systemClock()
    }))
  )
  revocations.heard()
  const refresh = makeRefreshTokens(codec, randomBytes(32), rules, systemClock, undefined)
  const sliding = makeSlidingTokens(
    codec,
    randomBytes(32),
    { lifetime: 300, refreshLifetime: 300, adoption: undefined },
    rules,
    systemClock
  )
  return makeVerify({ codec, refresh, sliding, revocations, rules, clock: systemClock } as Partial<Parts> as Parts)
}

const row = (cells: readonly string[]): string =>
  cells.map((cell, at) => (at === 0 ? cell.padEnd(5) : cell.padStart(8))).join('  ')
const rate = (microseconds: number): string => Math.round(1e6 / microseconds).toString()
const shown = (microseconds: number): string => microseconds.toFixed(1)

const asked = process.argv.slice(2) as AlgorithmName[]
console.log(`Node ${process.version}, OpenSSL ${process.versions.openssl}, ${cpus()[0]?.model}, ${rounds} rounds`)
console.log('CPU microseconds per operation; what Keyturn adds to bare node:crypto; operations in a second of CPU')
const kinds = ['bare', 'by hand', 'Keyturn', 'added', 'a second']
console.log(row(['', 'sign', '', '', '', '', 'verify', '', '', '', '', 'cached']).trimEnd())
console.log(row(['', ...kinds, ...kinds]))
for (const algorithm of asked.length > 0 ? asked : (Object.keys(algorithms) as AlgorithmName[])) {
  const of = await measure(algorithm)
  const side = (bare: number, hand: number, ours: number, added: number): string[] => [
    ...[bare, hand, ours].map(shown),
    `${(added * 100).toFixed(0)} %`,
    rate(ours)
  ]
  const signing = side(of.bareSign, of.handSign, of.sign, of.addedToSign)
  const verifying = side(of.bareVerify, of.handVerify, of.verify, of.addedToVerify)
  console.log(row([algorithm, ...signing, ...verifying, of.cached.toFixed(2)]))
}
