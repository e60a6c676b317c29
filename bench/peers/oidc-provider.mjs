/*
 * node-oidc-provider with refresh tokens that rotate, opaque access tokens (its default, and the only ones that it introspects), and an
 * adapter for Redis like that of its example (example/adapters/redis.js: a hash for what can be consumed, a text for the rest, a list
 * per grant; a transaction per write). The client is in the configuration, so it is not looked up. `findAccount` queries PostgreSQL
 * whether the user may still log in, at each refresh; node-oidc-provider leaves users to the application.
 *
 * A login is a flow of the application's own pages with a browser, so there is no row for it: the tokens to begin with are made with
 * the models of the provider. Without the scope `openid` a refresh signs no ID token.
 */
import { generateKeyPairSync } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { Redis } from 'ioredis'
import Provider from 'oidc-provider'
import pg from 'pg'

const [{ databaseUrl, redisUrl, secret, users, clientId, clientSecret }] = await once(process, 'message')
const pool = new pg.Pool({ connectionString: databaseUrl })
await pool.query('CREATE TABLE users (id text PRIMARY KEY, is_active boolean)')
for (const user of users) await pool.query('INSERT INTO users VALUES ($1, true)', [user])
const redis = new Redis(redisUrl, { keyPrefix: 'oidc:' })

const consumable = new Set(['AuthorizationCode', 'RefreshToken', 'DeviceCode', 'BackchannelAuthenticationRequest'])
const grantable = new Set([...consumable, 'AccessToken'])

class RedisAdapter {
  constructor(name) {
    this.name = name
  }

  #key(id) {
    return `${this.name}:${id}`
  }

  async upsert(id, payload, expiresIn) {
    const key = this.#key(id)
    const text = JSON.stringify(payload)
    const grantKey = `grant:${payload.grantId}`
    const isOfGrant = grantable.has(this.name) && payload.grantId !== undefined
    const grantTtl = isOfGrant ? await redis.ttl(grantKey) : 0
    const multi = redis.multi()
    if (consumable.has(this.name)) multi.hset(key, { payload: text })
    else multi.set(key, text)
    if (expiresIn) multi.expire(key, expiresIn)
    if (isOfGrant) multi.rpush(grantKey, key)
    if (isOfGrant && expiresIn > grantTtl) multi.expire(grantKey, expiresIn)
    if (payload.uid) multi.set(`uid:${payload.uid}`, id, 'EX', expiresIn)
    await multi.exec()
  }

  async find(id) {
    if (!consumable.has(this.name)) {
      const text = await redis.get(this.#key(id))
      return text === null ? undefined : JSON.parse(text)
    }
    const { payload, ...rest } = await redis.hgetall(this.#key(id))
    return payload === undefined ? undefined : { ...rest, ...JSON.parse(payload) }
  }

  async findByUid(uid) {
    return this.find(await redis.get(`uid:${uid}`))
  }

  async consume(id) {
    await redis.hset(this.#key(id), 'consumed', Math.floor(Date.now() / 1000))
  }

  async destroy(id) {
    await redis.del(this.#key(id))
  }

  async revokeByGrantId(grantId) {
    const keys = await redis.lrange(`grant:${grantId}`, 0, -1)
    await redis.del(`grant:${grantId}`, ...keys)
  }
}

async function findAccount(_, id) {
  const { rows } = await pool.query('SELECT is_active FROM users WHERE id = $1', [id])
  return rows[0]?.is_active ? { accountId: id, claims: () => ({ sub: id }) } : undefined
}

const day = 86_400
const provider = new Provider('http://127.0.0.1', {
  adapter: RedisAdapter,
  findAccount,
  clients: [
    {
      client_id: clientId,
      client_secret: clientSecret,
      redirect_uris: ['https://app.example/callback'],
      grant_types: ['authorization_code', 'refresh_token'],
      response_types: ['code'],
      token_endpoint_auth_method: 'client_secret_basic'
    }
  ],
  cookies: { keys: [secret] },
  jwks: { keys: [generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' })] },
  features: {
    // A client may introspect its own tokens; the default policy warns that it should be replaced.
    introspection: { enabled: true, allowedPolicy: (_, client, token) => token.clientId === client.clientId },
    devInteractions: { enabled: false }
  },
  rotateRefreshToken: true,
  ttl: { AccessToken: day, RefreshToken: day, Grant: day }
})

/** What a login of this user would have brought. */
async function makeTokens(accountId) {
  const client = await provider.Client.find(clientId)
  const scope = 'offline_access'
  const grant = new provider.Grant({ accountId, clientId })
  grant.addOIDCScope(scope)
  const common = { accountId, client, grantId: await grant.save(), gty: 'authorization_code', scope }
  return {
    access: await new provider.AccessToken(common).save(),
    refresh: await new provider.RefreshToken(common).save()
  }
}

const tokens = []
for (const user of users) tokens.push(await makeTokens(user))
const server = createServer(provider.callback())
await once(server.listen(0, '127.0.0.1'), 'listening')
process.once('disconnect', () => process.exit())
process.send({ port: server.address().port, tokens })
