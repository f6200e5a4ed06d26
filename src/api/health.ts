import type { FastifyRequest } from 'fastify';
import Type from 'typebox';
import { HealthChecker, type HealthReport } from '../telemetry/health-check.ts';
import type { Api } from './api.ts';
import type { ApiDependencies } from './dependencies.ts';

const reportSchema = Type.Object(
  {
    data: Type.Object({
      services: Type.Record(Type.String(), Type.Boolean(), {
        description: 'Each part, and whether it works',
      }),
      services_expanded: Type.Optional(
        Type.Record(
          Type.String(),
          Type.Object({
            status: Type.Boolean(),
            failure: Type.Optional(Type.String({ description: 'Why it does not work' })),
          }),
          { description: 'For superusers only' },
        ),
      ),
    }),
    status_code: Type.Integer(),
  },
  { title: 'Health' },
);

/** For load balancers and monitoring: 200 when all is well, 503 when something is not. */
export function addHealthRoutes(
  api: Api,
  { health, clock, logger }: Pick<ApiDependencies, 'health' | 'clock' | 'logger'>,
): void {
  const add = (url: string, operationId: string, summary: string, checker: HealthChecker) => {
    let known = '';
    const tellChange = ({ healthy, problems }: HealthReport) => {
      const now = Object.keys(problems).join(' ');
      if (now === known) return;
      known = now;
      if (healthy) logger.info({ health: url }, 'all parts work again');
      else logger.warn({ health: url, problems }, 'some part does not work');
    };
    api.get(
      url,
      {
        config: { access: 'public' },
        schema: {
          operationId,
          summary,
          tags: ['health'],
          response: { 200: reportSchema, 503: reportSchema },
        },
      },
      async (request, reply) => {
        const report = await checker.report();
        tellChange(report);
        const status = report.healthy ? 200 : 503;
        return await reply.status(status).send({
          data: {
            services: { ...report.services },
            ...(isSuperuser(request) ? { services_expanded: expanded(report) } : {}),
          },
          status_code: status,
        });
      },
    );
  };
  add(
    '/health/instance',
    'getInstanceHealth',
    'Whether this server works, and what it cannot do without',
    new HealthChecker(health.instance, { clock }),
  );
  add(
    '/health/endtoend',
    'getEndToEndHealth',
    'Whether everything that builds need works',
    new HealthChecker(health.endToEnd, { clock }),
  );
}

/** Reasons name hosts and folders, which are nobody else's business. */
function isSuperuser({ principal }: FastifyRequest): boolean {
  return principal.kind === 'user' && principal.superuser;
}

function expanded({ services, problems }: HealthReport) {
  return Object.fromEntries(
    Object.entries(services).map(([name, status]) => {
      const failure = problems[name];
      return [name, { status, ...(failure === undefined ? {} : { failure }) }];
    }),
  );
}
