/* What may be taken over as a password digest, and whether anybody can log in with it. */
import t from 'tap'
import { digestKind } from '../../../src/passwords/digest.ts'
import { aDigest } from '../../support/dump.ts'

t.test('the kinds of digests', async (t) => {
  const rows: readonly (readonly [kind: ReturnType<typeof digestKind>, text: string])[] = [
    ['verifiable', aDigest],
    ['verifiable', 'bcrypt_sha256$$2b$12$/pgr43qPLLl87PGqtsNHG.LWlgvYqxJSSp8TTuxTJdj4FLS2eZHkq'],
    ['verifiable', '$argon2id$v=19$m=102400,t=2,p=8$bnl6VnAwbzlVd2JVNXA3NEc4MFBiVQ$tV9jjNFxUaoqq/dVLsjp4A'],
    ['verifiable', 'md5$njFd74X5Zy5XrRb90fs9Of$7af3d8d1f9387e2fe53a50d4ae141789'],
    ['unusable', '!wbPmv0UUAjQLwt2zaygNsngwFIfFOrVcmajn9ouC'],
    ['unusable', '!'],
    ['unusable', ''],
    ['unverifiable', 'crypt$$oVVPEguINYdVw'],
    ['unverifiable', aDigest.slice(0, -1)],
    ['unverifiable', aDigest.replace('260000', '99999999')],
    [undefined, 'hunter2'],
    [undefined, ' '],
    [undefined, 'my_hasher$1$salt$hash'],
    [undefined, '$argon2id$'],
    [undefined, `${aDigest}\n`],
    [undefined, aDigest.replace('bxV5', '\0')],
    [undefined, '!\0'],
    [undefined, `crypt$${'x'.repeat(512)}`]
  ]
  for (const [kind, text] of rows) t.equal(digestKind(text), kind, JSON.stringify(text))
})
