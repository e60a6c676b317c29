/* Every forgery of forgeries.ts, for every algorithm, at the endpoint that checks tokens of every type, which must refuse them all. */
import t, { type Test } from 'tap'
import { type AlgorithmName, algorithms, isSecretAlgorithm } from '../../src/keys/algorithms.ts'
import { decodePart, encode, joinSigned, makeKeyPair } from '../support/forger.ts'
import { forge } from './forgeries.ts'
import { addressed, besiege, knock } from './siege.ts'

const names = Object.keys(algorithms) as AlgorithmName[]
const rsa = makeKeyPair('RS256')
let count = 0

const suite = async (t: Test, algorithm: AlgorithmName, env: Record<string, string>): Promise<void> => {
  const { service, target } = await besiege(t, env)
  t.equal(target.algorithm, algorithm)
  const seen = new Map<string, string>()
  const wrong: string[] = []
  let here = 0
  for (const { name, token, original } of forge(target)) {
    for (const good of seen.has(original) ? [] : [original]) {
      const answer = await knock(service, good)
      if (answer !== 'taken') wrong.push(`original of ${name}: ${answer}`)
      seen.set(good, name)
    }
    const answer = await knock(service, token)
    if (answer !== 'refused') wrong.push(`${name}: ${answer}`)
    here++
  }
  t.same(wrong, [], 'every forgery is refused in the same form')
  const lost: string[] = []
  for (const [original, name] of seen) if ((await knock(service, original)) !== 'taken') lost.push(name)
  t.same(lost, [], 'and every original is still taken')
  t.equal(service.log.filter(({ level }) => Number(level) >= 50).length, 0, 'no error was logged')
  t.comment(`${here} forgeries, ${seen.size} originals`)
  count += here
}

for (const algorithm of names) {
  const { text } = algorithms[algorithm].keyType === 'rsa' ? rsa : makeKeyPair(algorithm)
  const env = { SIGNING_KEY: text, ALGORITHM: algorithm, ...addressed }
  t.test(`${algorithm}, ${isSecretAlgorithm(algorithm) ? 'a secret' : 'a pair'} given`, (t) => suite(t, algorithm, env))
}

t.test('ES256, managed', (t) => suite(t, 'ES256', {}))

t.test('an invalid token type is refused by the endpoints that check it', async (t) => {
  const { text } = makeKeyPair('HS256')
  const { service, target } = await besiege(t, { SIGNING_KEY: text })
  const sign = (token: string, token_type: unknown): string =>
    joinSigned('HS256', target.pair.privateKey, token.split('.')[0]!, encode({ ...decodePart(token, 1), token_type }))
  const list = (token: string) =>
    service.app.inject({ url: '/api/sessions/', headers: { authorization: `Bearer ${token}` } })
  const refresh = (token: string) => service.post('/api/token/refresh/', { refresh: token })
  const types = [
    '',
    'Access',
    'Refresh',
    'access ',
    'refresh\n',
    'any',
    5,
    0,
    true,
    false,
    null,
    [],
    ['access'],
    ['refresh'],
    {}
  ]
  for (const type of [...types, undefined]) {
    for (const answer of [await list(sign(target.access, type)), await refresh(sign(target.refresh, type))]) {
      t.equal(answer.statusCode, 401, `${answer.raw.req.method} with ${JSON.stringify(type)}`)
      t.match(answer.json(), { code: 'token_not_valid' })
    }
  }
  t.equal((await refresh(target.access)).statusCode, 401, 'an access token is not a refresh token')
  t.equal((await list(target.refresh)).statusCode, 401, 'a refresh token is not an access token')
  t.equal((await list(sign(target.access, 'access'))).statusCode, 200)
  t.equal((await refresh(sign(target.refresh, 'refresh'))).statusCode, 200)
})

t.test('together', async (t) => {
  t.ok(count >= 500, `${count} forgeries`)
  t.comment(`${count} forgeries over ${names.length} algorithms`)
})
