import Type, { type TSchema, type TUnsafe } from 'typebox';

/**
 * The words the schema is written in. Each leaf says how its text is read (`reads`), what is allowed in words that follow
 * "it must be" (`allowed`), what it means (`description`), and what it is when it is not given (`default`, as it would be
 * written). TypeBox checks what was read against the rest of it.
 */
export type Reads = 'text' | 'number' | 'flag' | 'duration' | 'bytes';

export interface LeafKeywords {
  readonly reads: Reads;
  readonly allowed: string;
  readonly description: string;
  readonly default?: string | number | boolean;
  /** Never shown. `url`: shown without its password. */
  readonly secret?: true | 'url';
  /** `null` is a value of its own; it stands for this. */
  readonly null?: string;
  /** The values of a choice. */
  readonly choices?: readonly string[];
  /** It is checked, and nothing reads it. */
  readonly effect?: 'none';
}

type LeafSchema<Value> = TUnsafe<Value> & LeafKeywords;

interface Common<Default> {
  readonly default?: Default;
  readonly secret?: true | 'url';
  readonly allowed?: string;
  readonly effect?: 'none';
}

function leaf<Value>(
  schema: Record<string, unknown>,
  keywords: Omit<LeafKeywords, 'default'>,
  options: Common<string | number | boolean>,
): LeafSchema<Value> {
  const { default: given, secret, allowed, effect } = options;
  return Type.Unsafe<Value>({
    ...schema,
    ...keywords,
    ...(allowed === undefined ? {} : { allowed }),
    ...(given === undefined ? {} : { default: given }),
    ...(secret === undefined ? {} : { secret }),
    ...(effect === undefined ? {} : { effect }),
  }) as LeafSchema<Value>;
}

export function text(description: string, options: Common<string> & { readonly pattern?: string } = {}) {
  const { pattern, ...common } = options;
  return leaf<string>(
    { type: 'string', minLength: 1, maxLength: 65_536, ...(pattern === undefined ? {} : { pattern }) },
    { reads: 'text', allowed: 'text', description },
    common,
  );
}

export function flag(description: string, options: Common<boolean> = {}) {
  return leaf<boolean>(
    { type: 'boolean' },
    { reads: 'flag', allowed: 'true or false', description },
    options,
  );
}

interface Range extends Common<number> {
  readonly minimum?: number;
  readonly maximum?: number;
}

function rangeWords(kind: string, minimum: number, maximum: number | undefined): string {
  return maximum === undefined ? `${kind} of at least ${minimum}` : `${kind} from ${minimum} to ${maximum}`;
}

export function whole(description: string, options: Range = {}) {
  const { minimum = 0, maximum, ...common } = options;
  const bounds = { minimum, maximum: maximum ?? Number.MAX_SAFE_INTEGER };
  return leaf<number>(
    { type: 'integer', ...bounds },
    { reads: 'number', allowed: rangeWords('a whole number', minimum, maximum), description },
    common,
  );
}

/** `null` switches what it limits off. */
export function wholeOrNull(description: string, whenNull: string, options: Range = {}) {
  const inner = whole(description, options);
  return Type.Unsafe<number | null>({
    ...inner,
    allowed: `${inner.allowed}, or null (${whenNull})`,
    null: whenNull,
  }) as unknown as LeafSchema<number | null>;
}

export function share(description: string) {
  return leaf<number>(
    { type: 'number', minimum: 0, maximum: 1 },
    { reads: 'number', allowed: 'a number from 0 to 1', description },
    {},
  );
}

export function port(description: string, options: Common<number> & { readonly minimum?: number } = {}) {
  return whole(description, { minimum: 1, maximum: 65_535, ...options });
}

export function choice<const Choice extends string>(
  choices: readonly Choice[],
  description: string,
  options: Common<Choice> = {},
) {
  const allowed = choices.length === 1 ? `${choices[0]}` : `one of ${choices.join(', ')}`;
  return leaf<Choice>(
    { type: 'string', enum: choices },
    { reads: 'text', allowed, description, choices },
    options,
  );
}

const second = 1000;
const durationUnits: Readonly<Record<string, number>> = {
  s: second,
  m: 60 * second,
  h: 3600 * second,
  d: 86_400 * second,
  w: 604_800 * second,
};

/** Milliseconds; undefined when it is not a duration. */
export function parseDuration(written: string): number | undefined {
  const match = /^(\d{1,12})([smhdw]?)$/.exec(written);
  if (match === null) return undefined;
  return Number(match[1]) * (durationUnits[match[2] || 's'] ?? second);
}

interface DurationOptions extends Common<number | string> {
  /** Seconds. */
  readonly minimum?: number;
  readonly maximum?: number;
}

/** Written as seconds or with a unit; read as milliseconds. */
export function duration(description: string, options: DurationOptions = {}) {
  const { minimum = 0, maximum = 10 * 365 * 86_400, ...common } = options;
  return leaf<number>(
    { type: 'integer', minimum: minimum * second, maximum: maximum * second },
    {
      reads: 'duration',
      allowed: `a time from ${formatSeconds(minimum)} to ${formatSeconds(maximum)}: seconds, or a whole number with s, m, h, d or w`,
      description,
    },
    common,
  );
}

function formatSeconds(seconds: number): string {
  for (const [unit, size] of [
    ['d', 86_400],
    ['h', 3600],
    ['m', 60],
  ] as const)
    if (seconds > 0 && seconds % size === 0) return `${seconds / size}${unit}`;
  return `${seconds}s`;
}

const byteUnits: Readonly<Record<string, number>> = {
  '': 1,
  k: 1e3,
  m: 1e6,
  g: 1e9,
  t: 1e12,
  ki: 2 ** 10,
  mi: 2 ** 20,
  gi: 2 ** 30,
  ti: 2 ** 40,
};

/** Undefined when it is not a size. */
export function parseBytes(written: string): number | undefined {
  const match = /^(\d{1,15})([kmgt]?i?)b?$/i.exec(written);
  const unit = match === null ? undefined : byteUnits[(match[2] ?? '').toLowerCase()];
  return unit === undefined ? undefined : Number(match?.[1]) * unit;
}

/** Read as a number of bytes. */
export function bytes(
  description: string,
  options: Common<number | string> & { readonly minimum?: number } = {},
) {
  const { minimum = 1, ...common } = options;
  return leaf<number>(
    { type: 'integer', minimum, maximum: Number.MAX_SAFE_INTEGER },
    {
      reads: 'bytes',
      allowed: `a size${minimum === 1 ? '' : ` of at least ${minimum} bytes`}: a whole number, alone or with K, M, G, T (powers of 1000) or Ki, Mi, Gi, Ti (powers of 1024)`,
      description,
    },
    common,
  );
}

/** `null` switches it off. */
export function durationOrNull(description: string, whenNull: string, options: DurationOptions = {}) {
  const inner = duration(description, options);
  return Type.Unsafe<number | null>({
    ...inner,
    allowed: `${inner.allowed}; or null (${whenNull})`,
    null: whenNull,
  }) as unknown as LeafSchema<number | null>;
}

/** A list without repetitions. Not given: empty. */
export function list<Item extends TSchema>(item: Item, description: string) {
  return Type.Array(item, { description, uniqueItems: true });
}

/** The keywords of a leaf; undefined: it is an object, a list, a pair or a union. */
export function leafOf(schema: TSchema): LeafKeywords | undefined {
  return 'reads' in schema ? (schema as unknown as LeafKeywords) : undefined;
}
