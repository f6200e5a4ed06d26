import Type from 'typebox';
import type { Api } from './api.ts';
import { ApiError, apiErrorTable, isApiErrorCode } from './api-error.ts';

/** Where the `type` of an error leads. */
export function addErrorTypeRoutes(api: Api): void {
  api.get(
    '/api/v1/error/:error_type',
    {
      config: { access: 'public' },
      schema: {
        operationId: 'getErrorDescription',
        summary: 'What a type of error means',
        tags: ['errors'],
        params: Type.Object({ error_type: Type.String() }),
        response: {
          200: Type.Object({
            type: Type.String(),
            title: Type.String(),
            description: Type.String(),
            status: Type.Integer(),
          }),
        },
      },
    },
    async (request) => {
      const code = request.params.error_type;
      if (!isApiErrorCode(code)) throw new ApiError('not_found', 'There is no such type of error.');
      const { meaning, status } = apiErrorTable[code];
      return { type: `/api/v1/error/${code}`, title: code, description: meaning, status };
    },
  );
}
