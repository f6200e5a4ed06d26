import Type, { type Static } from 'typebox';
import type { TriggerConfig } from '../trigger/trigger-config.ts';
import { textEnum } from './text-enum.ts';

const path = (description: string) => Type.String({ maxLength: 1024, description });
/** What may be taken away again; null does. */
const removable = <Schema extends Type.TSchema>(schema: Schema) =>
  Type.Optional(Type.Union([schema, Type.Null()]));

const fields = {
  dockerfile_path: Type.Optional(path('Path in the source; default /Dockerfile')),
  context: Type.Optional(path('Folder in the source that COPY sees; default /')),
  default_tag_from_ref: Type.Optional(
    Type.Boolean({ description: 'Tag with the last part of the ref; default true' }),
  ),
  latest_for_default_branch: Type.Optional(
    Type.Boolean({ description: 'Tag what is built from the default branch `latest`; default true' }),
  ),
  tag_templates: Type.Optional(
    Type.Array(Type.String({ maxLength: 1024 }), {
      maxItems: 100,
      // biome-ignore lint/suspicious/noTemplateCurlyInString: it is how templates look
      description: 'Such as ${commit_info.short_sha}',
    }),
  ),
  branchtag_regex: removable(
    Type.String({
      maxLength: 1024,
      description: 'Must match all of the ref without refs/, such as heads/main, or the push is skipped',
    }),
  ),
  path_filters: removable(
    Type.Array(Type.String({ maxLength: 1024 }), {
      maxItems: 100,
      description:
        'Globs; only pushes that change a path which one matches are built. A leading ! takes paths out',
    }),
  ),
  cron: removable(
    Type.Array(
      Type.Object({
        schedule: Type.String({ maxLength: 100, description: 'Five fields, in UTC' }),
        branch: Type.Optional(Type.String({ maxLength: 255, description: 'Default: the default branch' })),
      }),
      { maxItems: 20 },
    ),
  ),
  pull_requests: removable(
    textEnum(['none', 'same-repository', 'all'], {
      description: 'Pull requests are built and not published; those from forks see no secrets',
    }),
  ),
  newest_only: removable(
    Type.Boolean({ description: 'A newer push supersedes builds of the same ref that wait' }),
  ),
  build_args: removable(
    Type.Record(Type.String({ maxLength: 255 }), Type.String({ maxLength: 65536 }), { maxProperties: 1000 }),
  ),
  platforms: removable(Type.Array(Type.String({ maxLength: 100 }), { maxItems: 20 })),
  semver_tags: removable(
    Type.Boolean({ description: 'A tag v1.2.3 gives the image tags 1.2.3, 1.2 and 1 too' }),
  ),
  lfs: removable(Type.Boolean({ description: 'Fetch what Git LFS keeps' })),
};

const buildSource = Type.Optional(
  Type.String({ maxLength: 2048, description: 'owner/name at a host, or a git URL for custom-git' }),
);

/** Fields that are not known are passed over: clients send back what they were shown. */
export const triggerConfigSchema = Type.Object(
  { build_source: buildSource, ...fields },
  { title: 'TriggerConfig' },
);
/** The source of an active trigger stays: its key and webhook are there. */
export const triggerChangeSchema = Type.Object(fields, { title: 'TriggerConfigChange' });

export type TriggerConfigBody = Static<typeof triggerConfigSchema>;

const names = ['build_source', ...Object.keys(fields)] as readonly string[];

/** What was given of a configuration. Null is undefined, which takes a value away where there was one. */
export function parseTriggerConfig(body: TriggerConfigBody): Partial<TriggerConfig> {
  return Object.fromEntries(
    Object.entries(body).flatMap(([name, value]) =>
      names.includes(name) ? [[name, value ?? undefined]] : [],
    ),
  ) as Partial<TriggerConfig>;
}
