import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { extname } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { KeyturnError } from '../src/errors.ts'

interface PageFile {
  readonly type: string
  readonly etag: string
  readonly body: Buffer
}

const types: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.js': 'text/javascript; charset=utf-8'
}

/**
 * The page may only run its own scripts and call this service. No Trusted Types policy is allowed, so a script that assigns
 * text to innerHTML throws: usernames and user agents are chosen by untrusted clients.
 */
const policy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'"
].join('; ')

/** The files of the page by name, with the scheme of access tokens (AUTH_HEADER_TYPES) in the document. */
function readPage(scheme: string): ReadonlyMap<string, PageFile> {
  // Scripts are compiled beside this file; the rest stays where its source is.
  const compiled = new URL('./console/', import.meta.url)
  const scripts = readdirSync(compiled).filter((name) => name.endsWith('.js'))
  const given = (name: string) => readFileSync(fileURLToPath(import.meta.resolve(`#console/${name}`)))
  const document = given('index.html')
    .toString()
    .replace('content="Bearer"', `content="${scheme.replaceAll('&', '&amp;')}"`)
  const files: readonly (readonly [name: string, body: Buffer])[] = [
    ['index.html', Buffer.from(document)],
    ['style.css', given('style.css')],
    ['icon.svg', given('icon.svg')],
    ...scripts.map((name) => [name, readFileSync(new URL(name, compiled))] as const)
  ]
  return new Map(
    files.map(([name, body]) => {
      const etag = `"${createHash('sha256').update(body).digest('base64url')}"`
      return [name, { type: types[extname(name)] ?? '', etag, body }]
    })
  )
}

/**
 * GET /console/: the page for operators, and its files. Every file has an ETag and is revalidated, so that after an upgrade no
 * browser runs files of two versions together. They are read at the first request: most workers never get one.
 */
export default async function serveConsole(
  app: FastifyInstance,
  { scheme }: { readonly scheme: string }
): Promise<void> {
  const config = { quiet: true, isManagement: true }
  let page: ReadonlyMap<string, PageFile> | undefined
  const send = (name: string, request: FastifyRequest, reply: FastifyReply) => {
    page ??= readPage(scheme)
    const file = page.get(name)
    if (file === undefined) throw new KeyturnError('NOT_FOUND')
    reply.headers({ etag: file.etag, 'cache-control': 'no-cache', 'content-security-policy': policy })
    if (request.headers['if-none-match'] === file.etag) return reply.code(304).send()
    return reply.type(file.type).send(file.body)
  }
  // The addresses in the page are relative to this folder, so that a proxy may serve it below a path of its own.
  app.get('/console', { config }, async (request, reply) =>
    /^[^?]*\/(\?|$)/.test(request.url) ? send('index.html', request, reply) : reply.redirect('console/')
  )
  app.get<{ Params: { name: string } }>('/console/:name', { config }, async (request, reply) =>
    send(request.params.name, request, reply)
  )
}
