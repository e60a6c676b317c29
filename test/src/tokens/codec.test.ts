import t from 'tap'
import type { Key } from '../../../src/keys/key.ts'
import type { Keys } from '../../../src/keys/keyring.ts'
import { Codec, type TokenKey } from '../../../src/tokens/codec.ts'

const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')

/** A codec whose keys sign with their kid. `opened` and `verified` count what it asks of them. */
function openCodec() {
  const opened: string[] = []
  let verified = 0
  const openKey = async ({ kid }: Key, typ: string): Promise<TokenKey> => {
    opened.push(`${kid} ${typ}`)
    const signature = encode({ kid })
    return {
      sign: (claims) => [encode({ kid, typ }), encode(claims), signature].join('.'),
      verify(token) {
        verified++
        const [, payload = '', given] = token.split('.')
        if (given !== signature) throw new Error('another signature')
        return JSON.parse(Buffer.from(payload, 'base64url').toString())
      }
    }
  }
  return { codec: new Codec({ openKey, accessTokenType: 'at+jwt' }), opened, verified: () => verified }
}

const keysOf = (signing: string, ...verifying: string[]): Keys => {
  const keys = [signing, ...verifying].map((kid) => ({ kid }) as Key)
  return { signing: keys[0], verifying: keys, unnamed: [], refresh: { kid: 'r' } } as unknown as Keys
}

t.test('codec: a change of keys opens the new keys only and forgets what the old ones verified', async (t) => {
  const { codec, opened, verified } = openCodec()
  await codec.use(keysOf('a', 'b'))
  const access = codec.sign('access', { jti: '1' })
  const payload = codec.read(access)
  t.equal(codec.read(access), payload)
  t.equal(verified(), 1, 'an access token is verified once')

  await codec.use(keysOf('c', 'a'))
  t.same(opened, ['a at+jwt', 'b at+jwt', 'r JWT', 'c at+jwt'])
  t.not(codec.read(access), payload, 'verified again')
  t.equal(verified(), 2)

  await codec.use(keysOf('c'))
  t.throws(() => codec.read(access), { code: 'TOKEN_INVALID', detail: 'kid is not known' })
})

t.test('codec: a refresh token is verified each time', async (t) => {
  const { codec, verified } = openCodec()
  await codec.use(keysOf('a'))
  const refresh = codec.sign('refresh', { jti: '1' })
  t.same([codec.read(refresh), codec.read(refresh)], [{ jti: '1' }, { jti: '1' }])
  t.equal(verified(), 2)
})
