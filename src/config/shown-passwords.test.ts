import { expect, test } from 'vitest';
import { parseText } from '../../test/fakes/config-text.ts';

const rest = 'SERVER_HOSTNAME: ci.example.com\nDB_URI: sqlite:///slipway.db\n';
test.each([
  [
    'the name of the server',
    'SERVER_HOSTNAME: https://kim:hunter2pw@ci.example.com\nDB_URI: sqlite:///x.db\n',
  ],
  [
    'a git host',
    `${rest}FEATURE_GITHUB_BUILD: true\nGITHUB_TRIGGER_CONFIG: {CLIENT_ID: a, CLIENT_SECRET: b, GITHUB_ENDPOINT: "https://kim:hunter2pw@github.com/"}\n`,
  ],
  [
    'the host of S3',
    `${rest}DISTRIBUTED_STORAGE_CONFIG: {a: [S3Storage, {s3_bucket: b, host: "https://AKIA:hunter2pw@s3.example"}]}\n`,
  ],
  [
    'the URL of S3',
    `${rest}DISTRIBUTED_STORAGE_CONFIG: {a: [S3Storage, {s3_bucket: b, endpoint_url: "https://AKIA:hunter2pw@s3.example/x"}]}\n`,
  ],
  [
    'the API of Kubernetes',
    `${rest}BUILD_MANAGER: [ephemeral, {EXECUTORS: [{EXECUTOR: kubernetes, K8S_API_SERVER: "kim:hunter2pw@api:6443/x"}]}]\n`,
  ],
  [
    'the endpoint of EC2',
    `${rest}BUILD_MANAGER: [ephemeral, {EXECUTORS: [{EXECUTOR: ec2, EC2_REGION: r, EC2_INSTANCE_TYPE: t, EC2_ENDPOINT: "ftp://AK:hunter2pw@h"}]}]\n`,
  ],
  ['a list of networks', `${rest}TRUSTED_PROXIES: ["kim:hunter2pw@10.0.0.0/8"]\n`],
  [
    'a URL with an @ in its password',
    'SERVER_HOSTNAME: https://kim:hunter2pw@x@ci.example.com\nDB_URI: sqlite:///x.db\n',
  ],
])('a password in %s is not shown', (_what, text) => {
  const parsed = parseText(text);
  expect(parsed.faults.length).toBeGreaterThan(0);
  expect(JSON.stringify(parsed.faults)).not.toContain('hunter2pw');
});
