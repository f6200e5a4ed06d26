import type { Api } from './api.ts';
import type { ApiDependencies } from './dependencies.ts';

/** Prometheus metrics. They name no repository, user or build, so everybody who reaches the port may read them. */
export function addMetricsRoutes(api: Api, { metrics }: Pick<ApiDependencies, 'metrics'>): void {
  api.get(
    '/metrics',
    {
      config: { access: 'public' },
      schema: {
        operationId: 'getMetrics',
        summary: 'Metrics in the format of Prometheus',
        tags: ['health'],
        produces: ['text/plain'],
      },
    },
    async (_request, reply) => {
      const { body, contentType } = await metrics.text();
      return await reply.type(contentType).send(body);
    },
  );
  api.addHook('onResponse', async (request, reply) => {
    // The pattern, never the address: addresses would make labels without end.
    const route = request.routeOptions.url ?? 'none';
    const { method } = request;
    metrics.httpRequests.inc({ method, route, status: String(reply.statusCode) });
    if (!route.endsWith('/stream')) metrics.httpDuration.observe({ method, route }, reply.elapsedTime / 1000);
  });
}
