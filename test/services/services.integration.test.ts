import { existsSync } from 'node:fs';
import { connect } from 'node:net';
import { Client } from 'pg';
import { expect, test } from 'vitest';
import { startPostgres } from './postgres.ts';
import { startRedis } from './redis.ts';

async function reachable(url: string): Promise<boolean> {
  return await new Promise((resolve) => {
    const socket = connect(Number(new URL(url).port), '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

test('PostgreSQL takes databases, and leaves no server and no folder behind', async () => {
  const postgres = await startPostgres();
  const client = new Client({ connectionString: postgres.url });
  await client.connect();
  await client.query('CREATE DATABASE one');
  const found = await client.query('SELECT setting FROM pg_settings WHERE name = $1', ['data_directory']);
  const folder: unknown = found.rows[0]?.setting;
  await client.end();
  if (typeof folder !== 'string') throw new Error('no data_directory');
  expect(existsSync(folder)).toBe(true);
  await postgres[Symbol.asyncDispose]();
  expect(existsSync(folder)).toBe(false);
  expect(await reachable(postgres.url)).toBe(false);
});

test('Redis answers while it runs and not after', async () => {
  const redis = await startRedis();
  expect(await reachable(redis.url)).toBe(true);
  await redis[Symbol.asyncDispose]();
  expect(await reachable(redis.url)).toBe(false);
});

test('the services of the run are in the environment', async () => {
  const client = new Client({ connectionString: process.env.SLIPWAY_TEST_POSTGRES });
  await client.connect();
  const { rows } = await client.query('SELECT 1 AS one');
  await client.end();
  expect(rows).toEqual([{ one: 1 }]);
  expect(await reachable(process.env.SLIPWAY_TEST_REDIS ?? '')).toBe(true);
});
