import { cutText } from '../base/cut-text.ts';
import { splitInstructions } from '../context/dockerfile-instructions.ts';

/** The images that a Dockerfile builds on, in their order; a text: why it cannot be read, as a sentence. */
export function basesOf(bytes: Uint8Array): readonly string[] | string {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return 'The Dockerfile is no text in UTF-8.';
  }
  if (text.includes('\0')) return 'The Dockerfile is no text: there is a zero byte in it.';
  const { instructions } = splitInstructions(text);
  const unknown = instructions.find(({ keyword }) => !keywords.has(keyword.toUpperCase()));
  if (unknown !== undefined)
    return `Could not parse the Dockerfile: "${cutText(unknown.keyword, 50)}" in line ${unknown.line} is no instruction.`;
  const named = instructions.map(({ keyword, rest }) => ({ keyword: keyword.toUpperCase(), rest }));
  const values = defaultsOf(named);
  const stages = new Set<string>();
  const bases: string[] = [];
  for (const { keyword, rest } of named) {
    if (keyword !== 'FROM') continue;
    const [name = '', as, stage] = rest.split(/\s+/).filter((word) => !word.startsWith('--'));
    const image = filled(name, values);
    if (image !== '' && image !== 'scratch' && !stages.has(image.toLowerCase())) bases.push(image);
    if (as?.toUpperCase() === 'AS' && stage !== undefined) stages.add(stage.toLowerCase());
  }
  return bases;
}

/** Of the arguments before the first FROM, those that have one. */
function defaultsOf(
  instructions: readonly { readonly keyword: string; readonly rest: string }[],
): ReadonlyMap<string, string> {
  const values = new Map<string, string>();
  for (const { keyword, rest } of instructions) {
    if (keyword === 'FROM') break;
    if (keyword !== 'ARG') continue;
    for (const [, name = '', quoted, apostrophed, bare] of rest.matchAll(
      /(?<!\S)(\w+)=(?:"([^"]*)"|'([^']*)'|(\S*))/g,
    ))
      values.set(name, quoted ?? apostrophed ?? bare ?? '');
  }
  return values;
}

const keywords: ReadonlySet<string> = new Set(
  `ADD ARG CMD COPY ENTRYPOINT ENV EXPOSE FROM HEALTHCHECK LABEL MAINTAINER ONBUILD RUN SHELL STOPSIGNAL USER VOLUME
  WORKDIR`.split(/\s+/),
);

/** `$NAME`, `${NAME}` and `${NAME:-word}` by the defaults of the arguments before the first FROM. */
function filled(image: string, values: ReadonlyMap<string, string>): string {
  return image.replace(
    /\$(?:\{(\w{1,100})(?::-([^}]{0,500}))?\}|(\w{1,100}))/g,
    (_whole, braced?: string, fallback?: string, bare?: string) => {
      const value = values.get(braced ?? bare ?? '');
      return value === undefined || value === '' ? (fallback ?? '') : value;
    },
  );
}
