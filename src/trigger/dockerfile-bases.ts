import { cutText } from '../base/cut-text.ts';
import { splitInstructions, wordsOf } from '../context/dockerfile-instructions.ts';
import { expandWord } from '../context/dockerfile-word.ts';

/** Characters of an image's name, digest and all; longer ones are in no registry. */
const longestName = 1000;

/** Images that are named; a Dockerfile that builds on more is not written by people. */
const mostBases = 200;

/**
 * The images that a Dockerfile builds on, each once, in their order. An empty list: it builds on none, or on such only as
 * cannot be told before the build. Undefined: it has no FROM. A text: why it cannot be read, as a sentence.
 */
export function basesOf(bytes: Uint8Array): readonly string[] | string | undefined {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return 'The Dockerfile is no text in UTF-8.';
  }
  if (text.includes('\0')) return 'The Dockerfile is no text: there is a zero byte in it.';
  const { instructions, escapeBy } = splitInstructions(text);
  const unknown = instructions.find(({ keyword }) => !keywords.has(keyword.toUpperCase()));
  if (unknown !== undefined)
    return `Could not parse the Dockerfile: "${cutText(unknown.keyword, 50)}" in line ${unknown.line} is no instruction.`;
  /** Of the arguments before the first FROM; undefined: it has one that cannot be told. */
  const values = new Map<string, string | undefined>();
  const expand = (word: string) => {
    let isTold = true;
    const expanded = expandWord(word, {
      lookUp: (name) => {
        if (values.has(name) && values.get(name) === undefined) isTold = false;
        return values.get(name);
      },
      escapeBy,
      longest: longestName,
    });
    return isTold ? expanded : undefined;
  };
  const stages = new Set<string>();
  const bases = new Set<string>();
  let begun = false;
  for (const { keyword, rest } of instructions) {
    if (isKeyword(keyword, 'ARG') && !begun) {
      for (const word of wordsOf(rest, escapeBy)) {
        const [, name, value] = /^(\w{1,200})=(.*)$/s.exec(word) ?? [];
        if (name !== undefined) values.set(name, expand(value ?? ''));
      }
    }
    if (!isKeyword(keyword, 'FROM')) continue;
    begun = true;
    const [name = '', as, stage] = firstWords(rest);
    const image = expand(name);
    const isImage =
      image !== undefined && image !== '' && image !== 'scratch' && !stages.has(image.toLowerCase());
    if (isImage) bases.add(image);
    if (bases.size === mostBases) break;
    if (as?.toUpperCase() === 'AS' && stage !== undefined) stages.add(stage.toLowerCase());
  }
  return begun ? [...bases] : undefined;
}

/** The image, AS and the name of the stage, behind the flags. */
function firstWords(rest: string): readonly string[] {
  return rest
    .split(/\s+/)
    .filter((word) => !word.startsWith('--'))
    .slice(0, 3);
}

function isKeyword(written: string, keyword: string): boolean {
  return written.toUpperCase() === keyword;
}

const keywords: ReadonlySet<string> = new Set(
  `ADD ARG CMD COPY ENTRYPOINT ENV EXPOSE FROM HEALTHCHECK LABEL MAINTAINER ONBUILD RUN SHELL STOPSIGNAL USER VOLUME
  WORKDIR`.split(/\s+/),
);
