import {
  chmodSync,
  closeSync,
  constants,
  fchmodSync,
  futimesSync,
  linkSync,
  lutimesSync,
  mkdirSync,
  openSync,
  rmdirSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeSync,
} from 'node:fs';
import { fromFileSystem, SourceError, systemCode } from './source-error.ts';
import type { SourceBudget } from './source-limits.ts';

/**
 * The one writer of an archive's members. The names it is given are hostile.
 *
 * | kept true at all times                                                                              |
 * |-----------------------------------------------------------------------------------------------------|
 * | the root was empty and is nobody else's, so `#made` names everything that is in it                   |
 * | a member is only made below folders that `#made` has as folders: no link is ever followed            |
 * | files are opened O_EXCL and O_NOFOLLOW: what is there already is removed first, never written through |
 *
 * Names are "binary strings": one character per byte, so that names that are not UTF-8 survive. Calls are
 * synchronous on purpose: for small files a system call costs less than handing it to another thread, and the
 * caller gives the event loop its turn between chunks of the archive. Modes are kept with set-user-id bits; the
 * folder around the root must therefore be closed to other accounts.
 */
export class SourceTree {
  readonly #root: string;
  readonly #budget: SourceBudget;
  readonly #made = new Map<string, 'folder' | 'file' | 'link'>();
  /** Folders with the mode and time they get at the end, when nothing is written into them any more. */
  readonly #folders = new Map<string, { mode: number; mtime: number }>();

  /** `root` is an existing, empty folder. Times are seconds. */
  constructor(root: string, budget: SourceBudget) {
    this.#root = root;
    this.#budget = budget;
  }

  folder(member: string, mode: number, mtime: number): void {
    const name = this.#clean(member);
    if (name === '') return;
    this.#ensureParents(name);
    if (this.#made.get(name) !== 'folder') {
      this.#removeOld(name);
      this.#makeFolder(name);
    }
    this.#folders.set(name, { mode, mtime });
  }

  /** Opens a member for writing. The returned file must be finished or dropped before the next call. */
  file(member: string, mode: number, mtime: number): OpenFile {
    const name = this.#cleanNamed(member);
    this.#ensureParents(name);
    this.#removeOld(name);
    this.#budget.addEntry();
    try {
      const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
      const descriptor = openSync(this.#path(name), flags, 0o600);
      this.#made.set(name, 'file');
      return new OpenFile(descriptor, printable(name), mode, mtime, this.#budget);
    } catch (error) {
      throw fromFileSystem(error, `make ${printable(name)}`);
    }
  }

  /** The target is data: it may point anywhere, because nothing here ever follows it. */
  symlink(member: string, target: string, mtime: number): void {
    const name = this.#cleanNamed(member);
    if (target === '' || target.includes('\0')) throw refuse(member, 'is a symbolic link without a target');
    if (target.length > 4095) throw refuse(member, 'is a symbolic link with a target that is too long');
    this.#ensureParents(name);
    this.#removeOld(name);
    this.#budget.addEntry();
    try {
      symlinkSync(onDisk(target), this.#path(name));
      this.#made.set(name, 'link');
      lutimesSync(this.#path(name), mtime, mtime);
    } catch (error) {
      throw fromFileSystem(error, `make the link ${printable(name)}`);
    }
  }

  /** Only to a regular file that this archive made before. */
  hardLink(member: string, target: string): void {
    const name = this.#cleanNamed(member);
    const source = this.#clean(target);
    if (this.#made.get(source) !== 'file') {
      throw refuse(
        member,
        `is a hard link to "${printable(target)}", which is no regular file that stands before it in the archive`,
      );
    }
    if (name === source) return;
    this.#ensureParents(name);
    this.#removeOld(name);
    this.#budget.addEntry();
    try {
      linkSync(this.#path(source), this.#path(name));
      this.#made.set(name, 'file');
    } catch (error) {
      if (systemCode(error) === 'EMLINK')
        throw refuse(member, 'is one hard link too many for the file system');
      throw fromFileSystem(error, `make the link ${printable(name)}`);
    }
  }

  /** Gives the folders their modes and times, inner ones first. */
  finish(): void {
    for (const [name, { mode, mtime }] of [...this.#folders].reverse()) {
      if (this.#made.get(name) !== 'folder') continue;
      try {
        utimesSync(this.#path(name), mtime, mtime);
        chmodSync(this.#path(name), mode);
      } catch (error) {
        throw fromFileSystem(error, `finish ${printable(name)}`);
      }
    }
  }

  #ensureParents(name: string): void {
    const end = name.lastIndexOf('/');
    if (end === -1) return;
    const parent = name.slice(0, end);
    const kind = this.#made.get(parent);
    if (kind === 'folder') return;
    if (kind === 'link')
      throw refuse(name, `would be written through the symbolic link "${printable(parent)}"`);
    if (kind === 'file') throw refuse(name, `lies below "${printable(parent)}", which is a file`);
    this.#ensureParents(parent);
    this.#makeFolder(parent);
    this.#folders.set(parent, { mode: 0o755, mtime: 0 });
  }

  #makeFolder(name: string): void {
    this.#budget.addEntry();
    try {
      mkdirSync(this.#path(name), 0o700);
      this.#made.set(name, 'folder');
    } catch (error) {
      throw fromFileSystem(error, `make the folder ${printable(name)}`);
    }
  }

  /** A later member replaces an earlier one of the same name; a folder only while it is empty. */
  #removeOld(name: string): void {
    const kind = this.#made.get(name);
    if (kind === undefined) return;
    try {
      if (kind === 'folder') rmdirSync(this.#path(name));
      else unlinkSync(this.#path(name));
    } catch (error) {
      if (systemCode(error) === 'ENOTEMPTY') throw refuse(name, 'would replace a folder that is not empty');
      throw fromFileSystem(error, `replace ${printable(name)}`);
    }
    this.#made.delete(name);
    this.#folders.delete(name);
  }

  #cleanNamed(member: string): string {
    const name = this.#clean(member);
    if (name === '') throw refuse(member, 'has no name');
    return name;
  }

  /** Drops leading and double slashes and `.`; refuses whatever could lead elsewhere. */
  #clean(member: string): string {
    if (member.includes('\0')) throw refuse(member, 'has a NUL in its name');
    if (member.length > 4096) throw refuse(member, 'has a name that is too long');
    // Most names are clean already; this test is all they cost.
    if (member !== '' && !/^\/|\/$|\/\/|(?:^|\/)\.\.?(?:\/|$)/.test(member) && member.length < 256)
      return member;
    const names = member.split('/').filter((name) => name !== '' && name !== '.');
    for (const name of names) {
      if (name === '..') throw refuse(member, 'leads out of the source with ".."');
      if (name.length > 255) throw refuse(member, 'has a name that is too long');
    }
    return names.join('/');
  }

  #path(name: string): string | Buffer {
    const path = onDisk(name);
    return typeof path === 'string'
      ? `${this.#root}/${path}`
      : Buffer.concat([Buffer.from(`${this.#root}/`), path]);
  }
}

/** A member that is being written. */
export class OpenFile {
  /** Undefined once closed: the number may be another file's by then. */
  #descriptor: number | undefined;
  readonly #name: string;
  readonly #mode: number;
  readonly #mtime: number;
  readonly #budget: SourceBudget;

  constructor(descriptor: number, name: string, mode: number, mtime: number, budget: SourceBudget) {
    this.#descriptor = descriptor;
    this.#name = name;
    this.#mode = mode;
    this.#mtime = mtime;
    this.#budget = budget;
  }

  write(bytes: Uint8Array): void {
    const descriptor = this.#opened();
    this.#budget.addBytes(bytes.length);
    try {
      for (let at = 0; at < bytes.length; ) at += writeSync(descriptor, bytes, at, bytes.length - at);
    } catch (error) {
      throw fromFileSystem(error, `write ${this.#name}`);
    }
  }

  finish(): void {
    const descriptor = this.#opened();
    try {
      fchmodSync(descriptor, this.#mode & 0o7777);
      futimesSync(descriptor, this.#mtime, this.#mtime);
    } catch (error) {
      throw fromFileSystem(error, `finish ${this.#name}`);
    } finally {
      this.drop();
    }
  }

  /** Closes the file as it is, for the way out after an error; safe to call again. */
  drop(): void {
    if (this.#descriptor !== undefined) closeSync(this.#descriptor);
    this.#descriptor = undefined;
  }

  #opened(): number {
    if (this.#descriptor === undefined)
      throw new SourceError('internalerror', `${this.#name} was written after it was closed.`);
    return this.#descriptor;
  }
}

function onDisk(binary: string): string | Buffer {
  return /^[\0-\x7f]*$/.test(binary) ? binary : Buffer.from(binary, 'latin1');
}

/** A binary string for a message: as UTF-8, without control characters, not too long. */
export function printable(binary: string): string {
  const text = Buffer.from(binary, 'latin1')
    .toString()
    .replace(/[\0-\x1f\x7f-\x9f]/g, '?');
  return text.length > 200 ? `${text.slice(0, 197)}...` : text;
}

export function refuse(member: string, why: string): SourceError {
  return new SourceError(
    'cannotextractbuildpack',
    `The archive cannot be unpacked: its member "${printable(member)}" ${why}.`,
  );
}
