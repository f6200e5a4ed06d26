import { cancelledError } from './source-error.ts';
import { type OpenFile, printable, refuse, type SourceTree } from './source-tree.ts';
import {
  blockSize,
  clampTime,
  damaged,
  isZeroBlock,
  parsePax,
  parseTarHeader,
  type TarHeader,
} from './tar-header.ts';

/** Extended headers and long names are kept in memory; a bigger one is refused. */
const longestExtension = 1 << 20;

/**
 * What the extractor waits for:
 *
 * | state     | next                                                              |
 * |-----------|-------------------------------------------------------------------|
 * | header    | data, extension or padding, by the header; ending at a zero block |
 * | data      | padding once the member is whole                                  |
 * | extension | padding once the extended header is whole                         |
 * | padding   | header                                                            |
 * | ended     | stays: what follows the end marker says nothing                   |
 */
type State =
  | { readonly at: 'header' }
  | { readonly at: 'data'; readonly file: OpenFile; left: number; readonly padding: number }
  | {
      readonly at: 'extension';
      readonly header: TarHeader;
      readonly parts: Buffer[];
      left: number;
      readonly padding: number;
    }
  | { readonly at: 'padding'; left: number }
  | { readonly at: 'ended' };

/** Unpacks a plain tar stream into a tree. Throws SourceError; the tree is then to be thrown away. */
export async function extractTar(
  tar: AsyncIterable<Buffer>,
  tree: SourceTree,
  signal?: AbortSignal,
): Promise<void> {
  const extractor = new TarExtractor(tree);
  try {
    for await (const chunk of tar) {
      if (signal?.aborted) throw cancelledError(signal.reason);
      extractor.write(chunk);
    }
    extractor.end();
  } finally {
    extractor.drop();
  }
  tree.finish();
}

class TarExtractor {
  readonly #tree: SourceTree;
  #state: State = { at: 'header' };
  /** The beginning of a header that is not whole yet. */
  #rest: Buffer = Buffer.alloc(0);
  #seen = 0;
  #pax = new Map<string, string>();
  #longName: string | undefined;
  #longLink: string | undefined;

  constructor(tree: SourceTree) {
    this.#tree = tree;
  }

  write(chunk: Buffer): void {
    this.#seen += chunk.length;
    let at = 0;
    while (at < chunk.length) {
      const state = this.#state;
      switch (state.at) {
        case 'header': {
          if (this.#rest.length === 0 && chunk.length - at >= blockSize) {
            this.#header(chunk.subarray(at, at + blockSize));
            at += blockSize;
            break;
          }
          const wanted = blockSize - this.#rest.length;
          const part = chunk.subarray(at, at + wanted);
          at += part.length;
          const block = Buffer.concat([this.#rest, part]);
          this.#rest = block.length === blockSize ? Buffer.alloc(0) : block;
          if (block.length === blockSize) this.#header(block);
          break;
        }
        case 'data': {
          const part = chunk.subarray(at, at + state.left);
          at += part.length;
          state.left -= part.length;
          state.file.write(part);
          if (state.left === 0) {
            this.#state = afterMember(state.padding);
            state.file.finish();
          }
          break;
        }
        case 'extension': {
          const part = chunk.subarray(at, at + state.left);
          at += part.length;
          state.left -= part.length;
          state.parts.push(Buffer.from(part));
          if (state.left === 0) {
            this.#state = afterMember(state.padding);
            this.#extension(state.header, Buffer.concat(state.parts));
          }
          break;
        }
        case 'padding': {
          const skipped = Math.min(state.left, chunk.length - at);
          at += skipped;
          state.left -= skipped;
          if (state.left === 0) this.#state = { at: 'header' };
          break;
        }
        case 'ended':
          return;
      }
    }
  }

  end(): void {
    if (this.#state.at === 'ended') return;
    if (this.#seen === 0) throw damaged('it is empty');
    throw damaged('it ends in the middle');
  }

  /** Closes what is open; safe to call at any time. */
  drop(): void {
    if (this.#state.at === 'data') this.#state.file.drop();
    this.#state = { at: 'ended' };
  }

  #header(block: Buffer): void {
    if (isZeroBlock(block)) {
      this.#state = { at: 'ended' };
      return;
    }
    const raw = parseTarHeader(block);
    if ('xgXLK'.includes(raw.type)) {
      if (raw.size > longestExtension) throw damaged('an extended header is too long');
      const state: State = {
        at: 'extension',
        header: raw,
        parts: [],
        left: raw.size,
        padding: paddingOf(raw.size),
      };
      this.#state = raw.size === 0 ? { at: 'header' } : state;
      return;
    }
    const header = this.#extended(raw);
    this.#pax = new Map();
    this.#longName = undefined;
    this.#longLink = undefined;
    this.#member(header);
  }

  #member(header: TarHeader): void {
    const { name, linkName, type, size, mode, mtime } = header;
    switch (type) {
      case '0':
      case '\0':
      case '7':
        if (name.endsWith('/')) this.#folder(header);
        else this.#file(header);
        return;
      case '5':
        this.#folder(header);
        return;
      case '1':
        this.#tree.hardLink(name, linkName);
        // POSIX lets a hard link carry the file's data once more; it is the same file.
        this.#state = afterMember(size + paddingOf(size));
        return;
      case '2':
        this.#tree.symlink(name, linkName, mtime);
        this.#state = afterMember(size + paddingOf(size));
        return;
      case '3':
      case '4':
        throw refuse(name, 'is a device node, which a source may not have');
      case '6':
        throw refuse(name, 'is a named pipe, which a source may not have');
      case 'S':
        throw refuse(name, 'is stored as a sparse file. Pack without sparse files (tar without -S)');
      case 'M':
        throw refuse(name, 'goes on from another volume. Pack into one archive');
      case 'V':
        this.#state = afterMember(size + paddingOf(size));
        return;
      default:
        throw refuse(name, `has the unknown type "${printable(type)}" (mode ${mode.toString(8)})`);
    }
  }

  #folder({ name, size, mode, mtime }: TarHeader): void {
    this.#tree.folder(name, mode, mtime);
    this.#state = afterMember(size + paddingOf(size));
  }

  #file({ name, size, mode, mtime }: TarHeader): void {
    const file = this.#tree.file(name, mode, mtime);
    if (size > 0) {
      this.#state = { at: 'data', file, left: size, padding: paddingOf(size) };
      return;
    }
    file.finish();
    this.#state = { at: 'header' };
  }

  #extension(header: TarHeader, data: Buffer): void {
    switch (header.type) {
      case 'x':
      case 'X':
        for (const [key, value] of parsePax(data)) this.#pax.set(key, value);
        return;
      case 'L':
        this.#longName = untilNul(data);
        return;
      case 'K':
        this.#longLink = untilNul(data);
        return;
      default:
        // Global headers: git stores its commit there. Nothing in them may rename members.
        return;
    }
  }

  #extended(raw: TarHeader): TarHeader {
    if (this.#pax.size === 0 && this.#longName === undefined && this.#longLink === undefined) return raw;
    const name = this.#pax.get('path') ?? this.#longName ?? raw.name;
    for (const key of this.#pax.keys()) {
      if (key.startsWith('GNU.sparse.'))
        throw refuse(name, 'is stored as a sparse file. Pack without sparse files (tar without -S)');
    }
    const size = this.#pax.get('size');
    if (size !== undefined && !/^\d{1,15}$/.test(size)) throw damaged('a member has an impossible size');
    const mtime = this.#pax.get('mtime');
    return {
      ...raw,
      name,
      linkName: this.#pax.get('linkpath') ?? this.#longLink ?? raw.linkName,
      size: size === undefined ? raw.size : Number(size),
      mtime: mtime === undefined ? raw.mtime : clampTime(Number(mtime)),
    };
  }
}

function paddingOf(size: number): number {
  return (blockSize - (size % blockSize)) % blockSize;
}

function afterMember(skip: number): State {
  return skip === 0 ? { at: 'header' } : { at: 'padding', left: skip };
}

function untilNul(data: Buffer): string {
  const end = data.indexOf(0);
  return data.toString('latin1', 0, end === -1 ? data.length : end);
}
