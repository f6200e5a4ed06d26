import { startServices } from './environment.ts';

let services: AsyncDisposable | undefined;

export async function setup(): Promise<void> {
  services = await startServices();
}

export async function teardown(): Promise<void> {
  await services?.[Symbol.asyncDispose]();
}
