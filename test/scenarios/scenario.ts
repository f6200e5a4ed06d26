import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Type, type Static } from 'typebox';
import { Check, Errors } from 'typebox/value';
import { parse } from 'yaml';

/** How the context of a scenario is handed over. */
const source = Type.Union([
  Type.Literal('tar.gz'),
  Type.Literal('tar'),
  Type.Literal('zip'),
  Type.Literal('dockerfile'),
]);

const scenarioSchema = Type.Object(
  {
    describe: Type.String(),
    source: Type.Optional(source),
    /** Puts a static busybox at the root of the context. */
    busybox: Type.Optional(Type.Boolean()),
    /** Extra content made by a function in generators.ts. */
    generate: Type.Optional(Type.String()),
    /** Repository, in the namespace `tests`; the name of the folder when absent. */
    repository: Type.Optional(Type.String()),
    /** A scenario whose image this one is built from; it is built first. */
    after: Type.Optional(Type.String()),
    /** The body of POST …/build/ besides the source. `{{registry}}` stands for the registry's host:port. */
    request: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
    expect: Type.Object(
      {
        phase: Type.String(),
        error_code: Type.Optional(Type.String()),
        /** A regular expression that the error message matches. */
        error: Type.Optional(Type.String()),
        /** Regular expressions that entries of the log match, in this order. */
        log: Type.Optional(Type.Array(Type.String())),
        /** Regular expressions that no entry matches. */
        not_log: Type.Optional(Type.Array(Type.String())),
        /** What the image's config holds, at least. */
        config: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
        tags: Type.Optional(Type.Array(Type.String())),
        /** HTTP status of the POST when it is refused. */
        refused: Type.Optional(Type.Number()),
      },
      { additionalProperties: false },
    ),
    /** A second run of the same context: regular expressions as in `log`. */
    again: Type.Optional(Type.Array(Type.String())),
  },
  { additionalProperties: false },
);

export type Scenario = Static<typeof scenarioSchema>;

/** Reads `scenario.yaml` of a folder; a misspelt key is an error, so that no expectation is silently left out. */
export async function readScenario(folder: string): Promise<Scenario> {
  const value: unknown = parse(await readFile(join(folder, 'scenario.yaml'), 'utf8'));
  if (!Check(scenarioSchema, value)) {
    const faults = Errors(scenarioSchema, value).map((fault) => `${fault.instancePath} ${fault.message}`);
    throw new Error(`${folder}/scenario.yaml: ${faults.join('; ')}`);
  }
  return value;
}
