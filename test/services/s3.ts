import { type MotoServer, startMoto } from './moto-server.ts';

export type S3Service = MotoServer;

/** A real S3 server on the loopback, whose keys are checked. `python` is from `findMoto`. */
export async function startS3(python: string): Promise<S3Service> {
  const policy = {
    Version: '2012-10-17',
    Statement: [{ Effect: 'Allow', Action: 's3:*', Resource: '*' }],
  };
  return await startMoto({ python, service: 's3', policy });
}
