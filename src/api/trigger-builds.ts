import Type, { type Static } from 'typebox';
import { formatTraceParent } from '../telemetry/trace-context.ts';
import type { StartWish } from '../trigger/triggers.ts';
import { requireUser } from './access.ts';
import type { Api } from './api.ts';
import { ApiError } from './api-error.ts';
import { BuildTriggers } from './build-triggers.ts';
import { buildViewSchema, viewBuild, viewWithPosition } from './build-view.ts';
import { requireBuilding } from './builds.ts';
import type { ApiDependencies } from './dependencies.ts';
import { textEnum } from './text-enum.ts';
import { signalOf, triggerOf, triggerParams, triggersPath } from './trigger-path.ts';

const tags = ['triggers'];
const startSchema = Type.Object(
  {
    branch_name: Type.Optional(Type.String({ maxLength: 255 })),
    refs: Type.Optional(
      Type.Union([
        Type.Object({ kind: textEnum(['branch', 'tag']), name: Type.String({ maxLength: 255 }) }),
        Type.Null(),
      ]),
    ),
    commit_sha: Type.Optional(
      Type.String({
        maxLength: 255,
        description: 'A commit or its first 7 and more digits, or, for custom-git, any ref',
      }),
    ),
  },
  { title: 'TriggerStart', description: 'One of them' },
);

/** Builds of one trigger: by hand, and those it made. */
export function addTriggerBuildRoutes(
  api: Api,
  { triggers, queue, options }: Pick<ApiDependencies, 'triggers' | 'queue' | 'options'>,
): void {
  const config = { access: 'repository-admin' } as const;
  const one = `${triggersPath}/:trigger`;

  api.post(
    `${one}/start`,
    {
      config,
      schema: {
        operationId: 'manuallyStartBuildTrigger',
        summary: 'Build a branch, tag or commit now; no rule for skipping applies',
        tags,
        params: triggerParams,
        body: startSchema,
        response: { 201: buildViewSchema },
      },
    },
    async (request, reply) => {
      const { trigger, name, role } = await triggerOf(triggers, request);
      requireBuilding(options);
      const { username } = requireUser(request.principal);
      const { span } = request;
      const build = await triggers.start(
        trigger.id,
        wishOf(request.body),
        username,
        signalOf(reply),
        span === undefined ? undefined : formatTraceParent(span),
      );
      return await reply
        .status(201)
        .header(
          'location',
          `/api/v1/repository/${name.namespace}/${encodeURIComponent(name.name)}/build/${build.id}/status`,
        )
        .send(await viewWithPosition(queue, build, role, new BuildTriggers(triggers)));
    },
  );

  api.get(
    `${one}/builds`,
    {
      config,
      schema: {
        operationId: 'listTriggerRecentBuilds',
        summary: 'The builds of a trigger, newest first',
        tags,
        params: triggerParams,
        querystring: Type.Object({ limit: Type.Integer({ minimum: 1, maximum: 100, default: 5 }) }),
        response: { 200: Type.Object({ builds: Type.Array(buildViewSchema) }) },
      },
    },
    async (request) => {
      const { trigger, role } = await triggerOf(triggers, request);
      const builds = await triggers.builds(trigger.id, request.query.limit);
      const repositoryUrl = triggers.repositoryUrl(trigger);
      return {
        builds: builds.map((build) => viewBuild(build, { role, trigger: { trigger, repositoryUrl } })),
      };
    },
  );
}

function wishOf({ branch_name: branch, refs, commit_sha: commit }: Static<typeof startSchema>): StartWish {
  if (commit !== undefined && commit !== '') return { commit };
  if (refs !== undefined && refs !== null) return { ref: refs };
  if (branch !== undefined && branch !== '') return { branch };
  throw new ApiError(
    'invalid_request',
    'Say what to build: "refs" with a branch or tag, "branch_name", or "commit_sha".',
  );
}
