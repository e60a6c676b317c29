/*
 * Counts files, code lines, functions and import cycles: `node dist/test/house/sizes.js [FOLDER]` (this checkout by default; an
 * older one by `git worktree add`). A function counts from its first line to its last, with the functions inside it. A code
 * line is neither blank nor a comment. An import counts whether it is of a value or of a type.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join, posix } from 'node:path'
import { fileURLToPath } from 'node:url'

// The parser that oazapfts brings: TypeScript 7, which compiles Keyturn, has no stable API yet.
const require = createRequire(createRequire(import.meta.url).resolve('oazapfts'))
const ts = require('typescript')

export interface FunctionSize {
  /** From the root, as src/tokens/codec.ts. */
  readonly file: string
  readonly line: number
  readonly name: string
  readonly lines: number
  /** Functions inside it, at any depth. */
  readonly closures: number
}

export interface Sizes {
  readonly files: number
  readonly codeLines: number
  readonly functions: readonly FunctionSize[]
  /** Files that import each other, directly or not. */
  readonly cycles: readonly (readonly string[])[]
}

/** Measures the TypeScript files below `folders` of `root`. */
export function measure(root: string, folders: readonly string[]): Sizes {
  const files = folders.flatMap((folder) => filesOf(root, folder))
  const texts = new Map(files.map((file) => [file, readFileSync(join(root, file), 'utf8')]))
  const sources = [...texts].map(([file, text]) => ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true))
  const graph = new Map(sources.map((source) => [source.fileName as string, importsOf(source)]))
  return {
    files: files.length,
    codeLines: [...texts.values()].reduce((sum, text) => sum + countCodeLines(text), 0),
    functions: sources.flatMap(functionsOf),
    cycles: findCycles(graph)
  }
}

const filesOf = (root: string, folder: string): string[] =>
  readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => posix.join(folder, name))
    .toSorted()

const countCodeLines = (text: string): number =>
  text.split('\n').filter((line) => !/^\s*($|\/\/|\/?\*)/.test(line)).length

// biome-ignore lint/suspicious/noExplicitAny: this parser is not a dependency of ours, and neither are its types.
type Node = any

function functionsOf(source: Node): FunctionSize[] {
  const found: FunctionSize[] = []
  const visit = (node: Node): number => {
    let closures = 0
    ts.forEachChild(node, (child: Node) => {
      closures += visit(child)
    })
    if (!ts.isFunctionLike(node) || node.body === undefined) return closures
    const first = source.getLineAndCharacterOfPosition(node.getStart(source)).line
    const last = source.getLineAndCharacterOfPosition(node.end).line
    found.push({ file: source.fileName, line: first + 1, name: nameOf(node), lines: last - first + 1, closures })
    return closures + 1
  }
  visit(source)
  return found
}

const nameOf = (node: Node): string =>
  node.name?.getText() ??
  (ts.isConstructorDeclaration(node) ? 'constructor' : node.parent.name?.getText?.()) ??
  'an anonymous function'

const importsOf = (source: Node): string[] =>
  source.statements
    .map(({ moduleSpecifier }: Node) => moduleSpecifier?.text as string | undefined)
    .filter((name: string | undefined) => name?.startsWith('.'))
    .map((name: string) => posix.join(posix.dirname(source.fileName), name))

/** Tarjan's strongly connected components, without those of one file. */
function findCycles(graph: ReadonlyMap<string, readonly string[]>): string[][] {
  const order = new Map<string, number>()
  const lowest = new Map<string, number>()
  const stack: string[] = []
  const cycles: string[][] = []
  const visit = (file: string): void => {
    order.set(file, order.size)
    lowest.set(file, order.get(file) as number)
    stack.push(file)
    for (const target of graph.get(file) ?? []) {
      if (!graph.has(target)) continue
      if (!order.has(target)) visit(target)
      if (stack.includes(target)) lowest.set(file, Math.min(lowest.get(file) as number, lowest.get(target) as number))
    }
    if (lowest.get(file) !== order.get(file)) return
    const component = stack.splice(stack.indexOf(file))
    if (component.length > 1) cycles.push(component)
  }
  for (const file of graph.keys()) if (!order.has(file)) visit(file)
  return cycles
}

function print({ files, codeLines, functions, cycles }: Sizes): void {
  const lengths = functions.map(({ lines }) => lines).toSorted((a, b) => a - b)
  const at = (share: number): number => lengths[Math.floor(share * (lengths.length - 1))] ?? 0
  console.log(`${files} files, ${codeLines} code lines, ${functions.length} functions`)
  console.log(`lines of a function: median ${at(0.5)}, p90 ${at(0.9)}, longest ${at(1)}`)
  const show = ({ file, line, name, lines, closures }: FunctionSize): string =>
    `  ${file}:${line} ${name}: ${lines} lines, ${closures} closures`
  console.log('longest functions:')
  for (const each of functions.toSorted((a, b) => b.lines - a.lines).slice(0, 10)) console.log(show(each))
  console.log('most closures:')
  for (const each of functions.toSorted((a, b) => b.closures - a.closures).slice(0, 5)) console.log(show(each))
  console.log(`import cycles: ${cycles.length}`)
  for (const cycle of cycles) console.log(`  ${cycle.join(' ')}`)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const root = process.argv[2] ?? fileURLToPath(new URL('../../../', import.meta.url))
  print(measure(root, ['src', 'plugins', 'routes']))
}
