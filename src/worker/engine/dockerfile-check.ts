import { readFile, stat } from 'node:fs/promises';
import { messageOf } from '../../base/coded-error.ts';
import {
  type Instruction,
  type SplitDockerfile,
  splitInstructions,
} from '../../context/dockerfile-instructions.ts';
import { stageName } from './dockerfile-target.ts';
import type { EngineFeatures } from './engine.ts';
import { EngineError } from './engine-error.ts';

export const maximumDockerfileBytes = 1024 * 1024;

/** What the engines need to know of a Dockerfile. */
export interface DockerfileFacts extends SplitDockerfile {
  readonly text: string;
  /** Images named by FROM, variables not replaced; without `scratch` and without names of stages. */
  readonly baseImages: readonly string[];
}

export interface CheckingEngine {
  /** For messages: `buildah 1.28.2`. */
  readonly title: string;
  readonly features: EngineFeatures;
}

/** Refuses a Dockerfile the engine cannot build before anything is started. Throws EngineError `dockerfileissue`. */
export async function readDockerfile(path: string, engine: CheckingEngine): Promise<DockerfileFacts> {
  try {
    const { size } = await stat(path);
    if (size > maximumDockerfileBytes) throw tooLarge(size);
    return checkDockerfile(await readFile(path), engine);
  } catch (thrown) {
    if (thrown instanceof EngineError) throw thrown;
    throw new EngineError('dockerfileissue', `The Dockerfile cannot be read: ${messageOf(thrown)}`, thrown);
  }
}

export function checkDockerfile(bytes: Buffer, engine: CheckingEngine): DockerfileFacts {
  if (bytes.length > maximumDockerfileBytes) throw tooLarge(bytes.length);
  const encoding = wideEncoding(bytes);
  if (encoding !== undefined) throw issue(`The Dockerfile is ${encoding}. Save it as UTF-8.`);
  const nul = bytes.indexOf(0);
  if (nul >= 0) {
    const line = bytes.subarray(0, nul).toString('latin1').split('\n').length;
    throw issue(
      `The Dockerfile holds a NUL byte in line ${line}: it is not a text file. Save it as UTF-8 text.`,
    );
  }
  // A UTF-8 byte order mark is legal, and the decoder drops it.
  const text = new TextDecoder('utf-8').decode(bytes);
  const split = splitInstructions(text);
  const { instructions } = split;
  if (instructions.length === 0) {
    const what = bytes.length === 0 ? 'is empty' : 'holds no instruction, only blank lines and comments';
    throw issue(`The Dockerfile ${what}. Begin it with FROM.`);
  }
  for (const instruction of instructions) checkInstruction(instruction, engine);
  checkBeginning(instructions);
  return { ...split, text, baseImages: baseImagesOf(instructions) };
}

const keywords: ReadonlySet<string> = new Set([
  'ADD',
  'ARG',
  'CMD',
  'COPY',
  'ENTRYPOINT',
  'ENV',
  'EXPOSE',
  'FROM',
  'HEALTHCHECK',
  'LABEL',
  'MAINTAINER',
  'ONBUILD',
  'RUN',
  'SHELL',
  'STOPSIGNAL',
  'USER',
  'VOLUME',
  'WORKDIR',
]);

function checkInstruction(instruction: Instruction, engine: CheckingEngine): void {
  const { line, rest } = instruction;
  const keyword = instruction.keyword.toUpperCase();
  if (!keywords.has(keyword)) throw unknownInstruction(instruction);
  if (rest === '') throw issue(`Line ${line} of the Dockerfile: ${keyword} needs an argument.`);
  if (keyword === 'FROM') checkBaseImage(instruction);
  // A shell may still make sense of what has no end.
  const isRun = keyword === 'RUN' || (keyword === 'ONBUILD' && /^run\s/i.test(rest));
  if (engine.features.heredoc) {
    const open = instruction.heredocs.find((heredoc) => !heredoc.terminated);
    if (open !== undefined && !isRun) {
      throw issue(
        `Line ${line} of the Dockerfile: the here-document is not ended by a line ${open.delimiter}.`,
      );
    }
    return;
  }
  const heredoc = instruction.heredocs.find(({ terminated }) => terminated || !isRun);
  if (heredoc === undefined) return;
  throw issue(
    `Line ${line} of the Dockerfile: ${keyword} <<${heredoc.delimiter} is a here-document, which ${engine.title} ` +
      'cannot do; buildah 1.33 and BuildKit can. Write the commands with && and \\, or copy a file instead.',
  );
}

/** Images come from registries only: these transports would read the worker's own files and store. */
const localTransport =
  /^(?:dir|oci|oci-archive|docker-archive|docker-daemon|containers-storage|ostree|sif|tarball):/i;

function checkBaseImage({ line, rest }: Instruction): void {
  const image = baseImageOf(rest);
  if (image === undefined) throw issue(`Line ${line} of the Dockerfile: FROM needs the name of an image.`);
  const transport = localTransport.exec(image)?.[0];
  if (transport === undefined) return;
  throw issue(
    `Line ${line} of the Dockerfile: FROM ${shortened(image)} is not in a registry. ` +
      `Images from "${transport}" are not allowed; push the image to a registry and name it there.`,
  );
}

function checkBeginning(instructions: readonly Instruction[]): void {
  const first = instructions.find(({ keyword }) => keyword.toUpperCase() !== 'ARG');
  if (first === undefined) throw issue('The Dockerfile has no FROM. Begin it with FROM and the base image.');
  if (first.keyword.toUpperCase() === 'FROM') return;
  const hasFrom = instructions.some(({ keyword }) => keyword.toUpperCase() === 'FROM');
  throw issue(
    hasFrom
      ? `Line ${first.line} of the Dockerfile: ${first.keyword} stands before FROM; only ARG may.`
      : 'The Dockerfile has no FROM. Begin it with FROM and the base image.',
  );
}

function baseImagesOf(instructions: readonly Instruction[]): string[] {
  const stages = new Set<string>();
  const images = new Set<string>();
  for (const { keyword, rest } of instructions) {
    if (keyword.toUpperCase() !== 'FROM') continue;
    const image = baseImageOf(rest);
    if (image !== undefined && image !== 'scratch' && !stages.has(image.toLowerCase())) images.add(image);
    const stage = stageName(rest);
    if (stage !== undefined) stages.add(stage);
  }
  return [...images];
}

/** The first word of FROM's arguments that is no flag. */
function baseImageOf(rest: string): string | undefined {
  for (const word of words(rest)) if (!word.startsWith('--')) return word;
  return undefined;
}

function* words(text: string): Generator<string> {
  for (const match of text.matchAll(/\S+/g)) yield match[0];
}

function unknownInstruction({ keyword, line }: Instruction): EngineError {
  const upper = keyword.toUpperCase();
  const nearest =
    upper.length > 20
      ? undefined
      : [...keywords]
          .map((known) => ({ known, distance: editDistance(upper, known) }))
          .filter(({ known, distance }) => distance <= Math.min(2, known.length - 2))
          .sort((a, b) => a.distance - b.distance)[0]?.known;
  const hint = nearest === undefined ? '' : ` Did you mean ${nearest}?`;
  return issue(`Line ${line} of the Dockerfile: there is no instruction ${shortened(keyword)}.${hint}`);
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, at) => at);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const replaced = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, replaced));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}

/** UTF-16 and UTF-32 by their mark, UTF-16 without one by its zeros: ASCII text has one in every other byte. */
function wideEncoding(bytes: Buffer): string | undefined {
  const mark = bytes.subarray(0, 4).toString('hex');
  if (mark.startsWith('fffe0000') || mark.startsWith('0000feff')) return 'UTF-32';
  if (mark.startsWith('fffe') || mark.startsWith('feff')) return 'UTF-16';
  const sample = bytes.subarray(0, 4096);
  const zeros: [number, number] = [0, 0];
  for (const [at, byte] of sample.entries()) if (byte === 0) zeros[(at % 2) as 0 | 1] += 1;
  const half = sample.length / 2;
  const [even, odd] = zeros;
  return half >= 2 && Math.max(even, odd) > half * 0.7 && Math.min(even, odd) < half * 0.1
    ? 'UTF-16'
    : undefined;
}

function tooLarge(size: number): EngineError {
  return issue(
    `The Dockerfile has ${size} bytes; the limit is ${maximumDockerfileBytes} (1 MiB). ` +
      'Move data out of it into files of the context.',
  );
}

/** Text of the user's for a message: one line, bounded, nothing that moves a terminal's cursor. */
function shortened(text: string): string {
  const clean = text.replace(/[\u0000-\u001f\u007f-\u009f]/g, '\ufffd');
  return clean.length <= 80 ? clean : `${clean.slice(0, 79)}…`;
}

function issue(message: string): EngineError {
  return new EngineError('dockerfileissue', message);
}
