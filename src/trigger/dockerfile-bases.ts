import { DockerfileParser } from 'dockerfile-ast';

/** The images that a Dockerfile builds on, in their order; a text: why it cannot be read, as a sentence. */
export function basesOf(bytes: Uint8Array): readonly string[] | string {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return 'The Dockerfile is no text in UTF-8.';
  }
  if (text.includes('\0')) return 'The Dockerfile is no text: there is a zero byte in it.';
  const file = DockerfileParser.parse(text);
  const unknown = file.getInstructions().find((each) => !instructions.has(each.getKeyword().toUpperCase()));
  if (unknown !== undefined)
    return `Could not parse the Dockerfile: "${unknown.getInstruction().slice(0, 50)}" in line ${unknown.getRange().start.line + 1} is no instruction.`;
  const values = new Map(
    file.getInitialARGs().flatMap((arg) => {
      const property = arg.getProperty();
      const value = property?.getValue();
      return property === null || value === null || value === undefined ? [] : [[property.getName(), value]];
    }),
  );
  const stages = new Set<string>();
  const bases: string[] = [];
  for (const from of file.getFROMs()) {
    const image = filled(from.getImage() ?? '', values);
    if (image !== '' && image !== 'scratch' && !stages.has(image.toLowerCase())) bases.push(image);
    const stage = from.getBuildStage();
    if (stage !== null) stages.add(stage.toLowerCase());
  }
  return bases;
}

const instructions: ReadonlySet<string> = new Set(
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
