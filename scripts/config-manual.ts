import Type, { type TObject, type TProperties, type TSchema } from 'typebox';
import { keywordsOf } from '../src/config/check-node.ts';
import { childPath } from '../src/config/config-node.ts';
import { ignoredKeys } from '../src/config/ignored-keys.ts';
import { leafOf } from '../src/config/leaf.ts';
import { keyGroups } from '../src/config/schema.ts';

const introduction = `# Configuration

<!-- Made by \`npm run generate:config-docs\` from src/config/schema.ts. Changes here are lost. -->

\`slipway serve --config FILE\` reads a configuration file of Quay as it is, and keys of Slipway's own in one block,
\`SLIPWAY\`. Two keys are enough for a server with SQLite that builds on its own machine:

\`\`\`yaml
SERVER_HOSTNAME: build.example.com
DB_URI: sqlite:///slipway.db
\`\`\`

Several equal servers share PostgreSQL, Redis and storage:

\`\`\`yaml
SERVER_HOSTNAME: build.example.com
PREFERRED_URL_SCHEME: https
EXTERNAL_TLS_TERMINATION: true
DB_URI: postgresql://slipway:PASSWORD@database.example.com/slipway
DATABASE_SECRET_KEY: 64 hexadecimal digits
BUILD_MANAGER:
  - ephemeral
  - ALLOWED_WORKER_COUNT: 20
    ORCHESTRATOR: { REDIS_HOST: redis.example.com, REDIS_PASSWORD: PASSWORD }
    EXECUTORS: [{ EXECUTOR: local }]
DISTRIBUTED_STORAGE_CONFIG:
  default: [LocalStorage, { storage_path: /mnt/shared/slipway }]
\`\`\`

## Checking

\`slipway config check FILE\` lists everything that is wrong at once, each fault with its line, what is allowed and the
nearest key there is; keys of Quay that have no effect on builds are listed too. Secrets are never shown. Nothing is
started and nothing is reached for. \`--json\` prints the same for programs.

| status | meaning |
|---|---|
| 0 | in order |
| 1 | faulty |
| 2 | the file cannot be read |

\`serve\` checks in the same way before it does anything.

## How values are written

The environment goes before the file, and the file before the defaults.

- A key of the top level is the variable \`SLIPWAY_KEY\`. Two underscores lead into it, a number into a list:
  \`SLIPWAY_BUILD_MANAGER__ORCHESTRATOR__REDIS_PASSWORD\`, \`SLIPWAY_BUILD_MANAGER__EXECUTORS__0__NAME\`. Keys of the
  block \`SLIPWAY\` begin with two: \`SLIPWAY__LISTEN__PORT\`. Lists of names are joined by commas; a
  whole block is YAML in brackets or braces.
- A secret may be in a file: \`SLIPWAY_DATABASE_SECRET_KEY_FILE=/run/secrets/key\`. Marked below as *secret*.
- An empty variable, \`KEY:\` and \`KEY: ""\` are the same as nothing, but where \`null\` is allowed.
- The file is YAML 1.1, as Quay reads it: \`yes\` and \`on\` are true, anchors and \`<<\` work. Numbers and \`true\` may
  stand in quotes. A number that is meant as text keeps its digits: \`WORKER_TAG: 3.10\`.
- A time is a number of seconds, or a whole number with \`s\`, \`m\`, \`h\`, \`d\` or \`w\`.
- A size is a number of bytes, or a whole number with \`K\`, \`M\`, \`G\`, \`T\` (powers of 1000) or \`Ki\`, \`Mi\`, \`Gi\`, \`Ti\`
  (powers of 1024).
`;

/** docs/configuration.md, from the schema. */
export function configManual(): string {
  const parts = [introduction];
  for (const { title, keys } of keyGroups) {
    parts.push(`## ${title}\n`, table(keys, ''));
    for (const [key, schema] of Object.entries(keys)) parts.push(...chapters(schema, key, 3));
  }
  parts.push(
    '## Keys without effect\n',
    'Known from Quay, and of no effect on builds. A file that has them is read as it is.\n',
    `${wrap([...ignoredKeys].sort().map((key) => `\`${key}\``))}\n`,
  );
  return `${parts
    .join('\n')
    .replace(/\n{3,}/g, '\n\n')
    .trimEnd()}\n`;
}

/** What is inside of a key, as sections of its own. */
function chapters(schema: TSchema, path: string, level: number): string[] {
  const heading = (title: string) => `${'#'.repeat(level)} ${title}\n`;
  if (Type.IsObject(schema)) {
    if (Object.keys(schema.properties).length === 0) return [];
    const inner = Object.entries(schema.properties).flatMap(([key, property]) =>
      chapters(property, childPath(path, key), level),
    );
    return [heading(`\`${path}\``), table(schema.properties, path), ...inner];
  }
  if (Type.IsTuple(schema)) return chapters(part(schema.items, 1), childPath(path, 1), level);
  if (Type.IsArray(schema)) return chapters(schema.items, childPath(path, '…').replace('.…', '[…]'), level);
  if (Type.IsRecord(schema))
    return Object.values(schema.patternProperties).flatMap((each) =>
      chapters(
        each,
        (schema as { spread?: boolean }).spread === true ? path : childPath(path, 'NAME'),
        level,
      ),
    );
  if (!Type.IsUnion(schema)) return [];
  const { chosenBy } = keywordsOf(schema);
  if (chosenBy === 'EXECUTOR') return executorChapters(schema.anyOf as TObject[], path, level);
  return variants(schema.anyOf, path, level);
}

function variants(members: readonly TSchema[], path: string, level: number): string[] {
  const titles = new Map<string, TSchema>();
  const same = new Map<TSchema, string>();
  for (const member of members) {
    const { variant = '' } = keywordsOf(member);
    const settings = Type.IsTuple(member) ? part(member.items, 1) : member;
    const other = same.get(settings);
    if (other !== undefined) titles.delete(other);
    const title = other === undefined ? variant : `${other}, ${variant}`;
    same.set(settings, title);
    titles.set(title, settings);
  }
  return [...titles].flatMap(([title, settings]) => {
    if (!Type.IsObject(settings) || Object.keys(settings.properties).length === 0) return [];
    const at = Type.IsTuple(members[0]) ? childPath(path, 1) : path;
    const only = titles.size === 1 || title === 'ephemeral' || title === 'REDIS';
    const [first = '', ...rest] = chapters(settings, at, level);
    return [only ? first : first.replace('\n', ` of ${title}\n`), ...rest];
  });
}

/** Executors have most keys in common. */
function executorChapters(members: readonly TObject[], path: string, level: number): string[] {
  const heading = (title: string) => `${'#'.repeat(level)} ${title}\n`;
  const [first] = members;
  const common = Object.keys(first?.properties ?? {}).filter(
    (key) => key !== 'EXECUTOR' && members.every(({ properties }) => key in properties),
  );
  const types = members.map((member) => {
    const { variant = '', description = '' } = keywordsOf(member);
    return `- \`${variant}\`: ${description}`;
  });
  const sections = [
    heading(`\`${path}\``),
    '`EXECUTOR` is one of these types. An executor that may not take a build is passed over, one that cannot start a worker is followed by the next.\n',
    `${types.join('\n')}\n`,
    table(
      pick(first?.properties ?? {}, (key) => common.includes(key)),
      path,
    ),
  ];
  const shared = [['local', 'popen'], ['kubernetes', 'kubernetesPodman'], ['ec2']];
  for (const names of shared) {
    const group = members.filter((member) => names.includes(keywordsOf(member).variant ?? ''));
    const merged = Object.assign({}, ...group.map(({ properties }) => properties)) as TProperties;
    sections.push(
      heading(`Executors of type ${names.map((name) => `\`${name}\``).join(' and ')}`),
      '',
      table(
        pick(merged, (key) => key !== 'EXECUTOR' && !common.includes(key)),
        path,
      ),
    );
  }
  return sections;
}

function pick(properties: TProperties, wanted: (key: string) => boolean): TProperties {
  return Object.fromEntries(Object.entries(properties).filter(([key]) => wanted(key)));
}

function part(items: unknown, index: number): TSchema {
  return (items as TSchema[])[index] ?? Type.Unknown();
}

function table(properties: TProperties, path: string): string {
  const rows = Object.entries(properties).map(([key, schema]) => {
    const leaf = leafOf(schema);
    const inside = Type.IsArray(schema) ? leafOf(schema.items) : undefined;
    const description = leaf?.description ?? keywordsOf(schema).description ?? '';
    const allowed = leaf?.allowed ?? (inside === undefined ? 'see below' : `list: ${inside.allowed}`);
    const marks = `${leaf?.secret === undefined ? '' : ' *Secret.*'}${keywordsOf(schema).effect === 'none' ? ' *Checked, but of no effect in this version.*' : ''}`;
    return `| \`${key}\` | ${cell(description + marks)} | ${cell(short(allowed))} | ${cell(whenAbsent(schema))} |`;
  });
  if (path === '' && rows.length === 0) return '';
  return ['| key | meaning | allowed | default |', '|---|---|---|---|', ...rows, ''].join('\n');
}

/** How times and sizes are written stands above all tables. */
function short(allowed: string): string {
  return allowed.replace(/: (seconds, or )?a whole number[^|;]*?(h, d or w|powers of 1024\))/, '');
}

function whenAbsent(schema: TSchema): string {
  const leaf = leafOf(schema);
  if (leaf?.default !== undefined) return `\`${String(leaf.default)}\``;
  if (leaf?.null !== undefined) return `\`null\``;
  if (Type.IsArray(schema) && !Type.IsOptional(schema)) return 'empty';
  if (Type.IsOptional(schema) || Type.IsObject(schema) || Type.IsRecord(schema)) return '';
  return '**needed**';
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('<', '&lt;').replaceAll('\n', ' ');
}

const width = 118;

function wrap(words: readonly string[]): string {
  const lines: string[] = [];
  let line = '';
  for (const word of words) {
    if (line !== '' && line.length + word.length + 1 > width) {
      lines.push(line);
      line = '';
    }
    line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line].join('\n');
}
