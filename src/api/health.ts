import Type from 'typebox';
import { HealthChecker } from '../telemetry/health-check.ts';
import type { Api } from './api.ts';
import type { ApiDependencies } from './dependencies.ts';

const services = Type.Record(Type.String(), Type.Boolean(), {
  description: 'Each part, and whether it works',
});
const reportSchema = Type.Object(
  {
    services,
    problems: Type.Record(Type.String(), Type.String(), {
      description: 'Why, for the parts that do not work',
    }),
    data: Type.Object({ services }, { description: 'The same again, where older clients look for it' }),
    status_code: Type.Integer(),
  },
  { title: 'Health' },
);

/** For load balancers and monitoring: 200 when all is well, 503 when something is not. */
export function addHealthRoutes(
  api: Api,
  { health, clock }: Pick<ApiDependencies, 'health' | 'clock'>,
): void {
  const add = (url: string, operationId: string, summary: string, checker: HealthChecker) => {
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
      async (_request, reply) => {
        const report = await checker.report();
        const status = report.healthy ? 200 : 503;
        return await reply.status(status).send({
          services: { ...report.services },
          problems: { ...report.problems },
          data: { services: { ...report.services } },
          status_code: status,
        });
      },
    );
  };
  add(
    '/health/instance',
    'getInstanceHealth',
    'Whether this server and what it needs itself works',
    new HealthChecker(health.instance, { clock }),
  );
  add(
    '/health/endtoend',
    'getEndToEndHealth',
    'Whether everything that builds need works',
    new HealthChecker(health.endToEnd, { clock }),
  );
}
