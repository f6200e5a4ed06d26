import { Ajv, type ErrorObject, type ValidateFunction } from 'ajv';
import type { FastifySchemaCompiler } from 'fastify';
import type { TSchema } from 'typebox';
import { ApiError } from './api-error.ts';

/** What comes in a URL is text, so it is turned into numbers and booleans; what comes in a body must have its type. */
const textual = new Ajv({ coerceTypes: 'array', useDefaults: true, allErrors: false, strict: false });
const typed = new Ajv({ useDefaults: true, allErrors: false, strict: false });

/** Compiles a schema when the first request needs it, so that starting costs nothing. */
export const compileValidator: FastifySchemaCompiler<TSchema> = ({ schema, httpPart }) => {
  const ajv = httpPart === 'body' ? typed : textual;
  let validate: ValidateFunction | undefined;
  return (value) => {
    validate ??= ajv.compile(schema);
    if (validate(value)) return { value };
    return { error: new ApiError('invalid_request', describe(validate.errors?.[0], httpPart ?? 'request')) };
  };
};

function describe(error: ErrorObject | undefined, part: string): string {
  const place = part === 'querystring' ? 'query' : part;
  if (error === undefined) return `The ${place} is not valid.`;
  const path = error.instancePath.slice(1).replaceAll('/', '.').slice(0, 100);
  const where = path === '' ? `The ${place}` : `"${path}" in the ${place}`;
  const params: Record<string, unknown> = error.params;
  switch (error.keyword) {
    case 'enum':
      return `${where} must be one of ${(params.allowedValues as readonly unknown[]).join(', ')}.`;
    case 'required':
      return `${where} lacks "${String(params.missingProperty)}".`;
    case 'type':
      return part === 'body' && path === ''
        ? 'The body must be a JSON object, sent with content-type: application/json.'
        : `${where} must be of type ${String(params.type)}.`;
    default:
      return `${where} ${error.message ?? 'is not valid'}.`;
  }
}
