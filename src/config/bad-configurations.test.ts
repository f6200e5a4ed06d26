import { describe, expect, it } from 'vitest';
import { parseText } from '../../test/fakes/config-text.ts';
import { faultLines } from './report.ts';

/** What is wrong with a configuration, and everything that is said of it. */
interface BadConfiguration {
  readonly name: string;
  /** The file; with `file`, behind two lines that are in order. */
  readonly whole?: string;
  readonly file?: string;
  readonly bytes?: readonly number[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly says: readonly string[];
}

const inOrder = 'SERVER_HOSTNAME: ci.example.com\nDB_URI: sqlite:///slipway.db\n';
const manager = (lines: string) =>
  `BUILD_MANAGER:\n- ephemeral\n- ${lines.trim().split('\n').join('\n  ')}\n`;
const executor = (lines: string) => manager(`EXECUTORS:\n- ${lines.trim().split('\n').join('\n  ')}`);
const s3 = (lines: string) =>
  `DISTRIBUTED_STORAGE_CONFIG:\n  s3:\n  - S3Storage\n  - s3_bucket: builds\n    ${lines.trim().split('\n').join('\n    ')}\n`;
const postgres = (lines: string) =>
  `SERVER_HOSTNAME: ci.example.com\nDB_URI: postgresql://slipway:hunter2@db/slipway\nDATABASE_SECRET_KEY: 0123456789abcdef\n${lines}`;
const cases: readonly BadConfiguration[] = [
  // the file itself
  {
    name: 'an empty file',
    whole: '',
    says: ['config.yaml: The file is empty; it needs at least SERVER_HOSTNAME and DB_URI.'],
  },
  {
    name: 'a file of comments',
    whole: '# nothing yet\n',
    says: ['config.yaml: The file is empty; it needs at least SERVER_HOSTNAME and DB_URI.'],
  },
  {
    name: 'a list instead of a mapping',
    whole: '- SERVER_HOSTNAME\n',
    says: ['config.yaml:1: The file is a list; it must be a mapping of keys to values.'],
  },
  {
    name: 'a single word',
    whole: 'hello\n',
    says: ['config.yaml:1: The file is a single value; it must be a mapping of keys to values.'],
  },
  {
    name: 'a tab as indentation',
    file: 'BUILDLOGS_REDIS:\n\thost: redis\n',
    says: ['config.yaml:4: The line is indented by a tab; YAML wants spaces.'],
  },
  {
    name: 'a key twice',
    file: 'SUPER_USERS: []\nSUPER_USERS: [kim]\n',
    says: ['config.yaml:4: The key SUPER_USERS stands twice in one mapping; keep one of them.'],
  },
  {
    name: 'a nested key twice',
    file: 'BUILDLOGS_REDIS:\n  host: a\n  port: 6379\n  host: b\n',
    says: ['config.yaml:6: The key host stands twice in one mapping; keep one of them.'],
  },
  {
    name: 'a bracket that is not closed',
    file: 'SUPER_USERS: [kim\n',
    says: ['config.yaml:4: The line is not indented as YAML wants it, or a bracket above it is not closed.'],
  },
  {
    name: 'a value with a bare colon',
    file: 'SECRET_KEY: a: b\n',
    says: ['config.yaml:3: A second colon stands in this line; put a value that has a colon in quotes.'],
  },
  {
    name: 'a line that is indented wrongly',
    file: 'BUILDLOGS_REDIS:\n  host: redis\n password: hunter2\n',
    says: ['config.yaml:5: The line is not indented as YAML wants it, or a bracket above it is not closed.'],
  },
  {
    name: 'a quote that is not closed',
    file: 'SECRET_KEY: "hunter2hunter2hunter2\n',
    says: ['config.yaml:4: A quote, a bracket or a colon is missing here or above.'],
  },
  {
    name: 'a backslash in double quotes',
    file: 'SECRET_KEY: "hunter2\\hunter2hunter2"\n',
    says: [
      'config.yaml:3: A backslash in double quotes begins no known sequence; write it twice, or use single quotes.',
    ],
  },
  {
    name: 'a secret that begins with a reserved character',
    file: 'SECRET_KEY: "@"\nUSERFILES_PATH: @hunter2\n',
    says: ['config.yaml:4: A value cannot begin with this character; put it in quotes.'],
  },
  {
    name: 'a secret that looks like a tag',
    file: 'SECRET_KEY: !hunter2\n',
    says: [
      'config.yaml:3: The value has a tag (`!…`) that is not known here; write it without, or in quotes if it begins with an exclamation mark.',
    ],
  },
  {
    name: 'a secret that looks like an alias',
    file: 'SECRET_KEY: *hunter2\n',
    says: [
      'config.yaml:3: An alias (`*…`) names an anchor that is not there; put a value that begins with * in quotes.',
    ],
  },
  {
    name: 'two documents',
    file: '---\nSUPER_USERS: []\n',
    says: ['config.yaml:3: A second document begins here (`---`); a configuration is one document.'],
  },
  {
    name: 'an alias without its anchor',
    file: 'SUPER_USERS: *people\n',
    says: [
      'config.yaml:3: An alias (`*…`) names an anchor that is not there; put a value that begins with * in quotes.',
    ],
  },
  {
    name: 'a tag of another language',
    file: 'SUPER_USERS: !!python/tuple [kim]\n',
    says: [
      'config.yaml:3: The value has a tag (`!…`) that is not known here; write it without, or in quotes if it begins with an exclamation mark.',
    ],
  },
  {
    name: 'a list as a key',
    file: '? [a, b]\n: 1\n',
    says: ['config.yaml:3: A list or mapping stands where a key must be.'],
  },
  {
    name: 'aliases that multiply',
    file: `a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\n`,
    says: ['config.yaml: The file stands for more than 20000 values once its aliases are followed.'],
  },
  {
    name: 'an alias inside of what it names',
    file: 'SUPER_USERS: &users [kim, *users]\n',
    says: ['config.yaml: The file is nested too deeply, or an alias stands inside of what it names.'],
  },
  {
    name: 'brackets nested without end',
    file: `SUPER_USERS: ${'['.repeat(5000)}${']'.repeat(5000)}\n`,
    says: ['config.yaml:3: The file is nested too deeply.'],
  },
  {
    name: 'UTF-16',
    bytes: [0xff, 0xfe, 0x41, 0x00],
    says: ['config.yaml: The file is UTF-16; save it as UTF-8.'],
  },
  {
    name: 'Latin-1',
    bytes: [...Buffer.from('SERVER_HOSTNAME: ci\nREGISTRY_TITLE: B'), 0xfc, ...Buffer.from('ro\n')],
    says: ['config.yaml: The file is not UTF-8 text (line 2); save it as UTF-8.'],
  },
  {
    name: 'a control character',
    file: 'SECRET_KEY: "abc\u0007def"\n',
    says: ['config.yaml: The file has a control character (line 3); remove it.'],
  },
  {
    name: 'a file that is no configuration',
    bytes: [0],
    says: ['config.yaml: The file has a control character (line 1); remove it.'],
  },
  // required and unknown keys
  {
    name: 'nothing that is needed',
    whole: 'SUPER_USERS: []\n',
    says: [
      'config.yaml:1: SERVER_HOSTNAME is missing; it must be HOST or HOST:PORT, without http:// or https://.',
      'config.yaml:1: DB_URI is missing; it must be postgresql://USER:PASSWORD@HOST/NAME or sqlite:///FILE.',
    ],
  },
  {
    name: 'a needed key without a value',
    whole: 'SERVER_HOSTNAME:\nDB_URI: sqlite:///slipway.db\n',
    says: [
      'config.yaml:1: SERVER_HOSTNAME is empty; it must be HOST or HOST:PORT, without http:// or https://.',
    ],
  },
  {
    name: 'a key with a slip',
    file: 'BUILD_MANGER: [ephemeral, {}]\n',
    says: ['config.yaml:3: BUILD_MANGER is not a known key. Did you mean BUILD_MANAGER?'],
  },
  {
    name: 'a key nobody knows',
    file: 'COLOUR: blue\n',
    says: ['config.yaml:3: COLOUR is not a known key. The keys are listed in docs/configuration.md.'],
  },
  {
    name: 'a key in small letters',
    file: 'super_users: [kim]\n',
    says: ['config.yaml:3: super_users is not a known key. Did you mean SUPER_USERS?'],
  },
  {
    name: 'a key at the wrong depth',
    file: 'ALLOWED_WORKER_COUNT: 4\n',
    says: ['config.yaml:3: ALLOWED_WORKER_COUNT is not a known key here. It belongs to BUILD_MANAGER[1].'],
  },
  {
    name: 'a key of Slipway with a slip',
    file: 'SLIPWAY:\n  LISTEN:\n    PROT: 80\n',
    says: ['config.yaml:5: SLIPWAY.LISTEN.PROT is not a known key. Did you mean PORT?'],
  },
  // types
  {
    name: 'text for a number',
    file: manager('ALLOWED_WORKER_COUNT: many'),
    says: [
      'config.yaml:5: BUILD_MANAGER[1].ALLOWED_WORKER_COUNT is "many"; it must be a whole number from 1 to 100000.',
    ],
  },
  {
    name: 'a fraction for a whole number',
    file: manager('ALLOWED_WORKER_COUNT: 1.5'),
    says: [
      'config.yaml:5: BUILD_MANAGER[1].ALLOWED_WORKER_COUNT is 1.5; it must be a whole number from 1 to 100000.',
    ],
  },
  {
    name: 'no worker at all',
    file: manager('ALLOWED_WORKER_COUNT: 0'),
    says: [
      'config.yaml:5: BUILD_MANAGER[1].ALLOWED_WORKER_COUNT is 0; it must be a whole number from 1 to 100000.',
    ],
  },
  {
    name: 'a word for a flag',
    file: 'FEATURE_READER_BUILD_LOGS: maybe\n',
    says: ['config.yaml:3: FEATURE_READER_BUILD_LOGS is "maybe"; it must be true or false.'],
  },
  {
    name: 'a number for a flag',
    file: 'FEATURE_READER_BUILD_LOGS: 1\n',
    says: ['config.yaml:3: FEATURE_READER_BUILD_LOGS is 1; it must be true or false.'],
  },
  {
    name: 'a single name for a list',
    file: 'SUPER_USERS: kim\n',
    says: ['config.yaml:3: SUPER_USERS is a single value; it must be a list of texts.'],
  },
  {
    name: 'a name twice in a list',
    file: 'SUPER_USERS: [kim, ada, kim]\n',
    says: ['config.yaml:3: SUPER_USERS[2] is "kim", which stands in the list already.'],
  },
  {
    name: 'a list for text',
    file: 'SECRET_KEY: [abc]\n',
    says: ['config.yaml:3: SECRET_KEY is a list of 1; it must be a text of at least 16 characters.'],
  },
  {
    name: 'a scheme nobody knows',
    file: 'PREFERRED_URL_SCHEME: htps\n',
    says: [
      'config.yaml:3: PREFERRED_URL_SCHEME is "htps"; it must be one of http, https. Did you mean https?',
    ],
  },
  {
    name: 'a size without a number',
    file: 'MAXIMUM_LAYER_SIZE: lots\n',
    says: [
      'config.yaml:3: MAXIMUM_LAYER_SIZE is "lots"; it must be a size: a whole number, alone or with K, M, G, T (powers of 1000) or Ki, Mi, Gi, Ti (powers of 1024).',
    ],
  },
  {
    name: 'a time with an unknown unit',
    file: 'SLIPWAY: { DRAIN_TIME: 5y }\n',
    says: [
      'config.yaml:3: SLIPWAY.DRAIN_TIME is "5y"; it must be a time from 0s to 1d: seconds, or a whole number with s, m, h, d or w.',
    ],
  },
  {
    name: 'a time that is too long',
    file: 'SLIPWAY: { DRAIN_TIME: 2d }\n',
    says: [
      'config.yaml:3: SLIPWAY.DRAIN_TIME is "2d"; it must be a time from 0s to 1d: seconds, or a whole number with s, m, h, d or w.',
    ],
  },
  {
    name: 'a limit of nothing',
    file: 'DEFAULT_NAMESPACE_MAXIMUM_BUILD_COUNT: 0\n',
    says: [
      'config.yaml:3: DEFAULT_NAMESPACE_MAXIMUM_BUILD_COUNT is 0; it must be a whole number of at least 1, or null (any number).',
    ],
  },
  // addresses
  {
    name: 'a URL as host name',
    whole: 'SERVER_HOSTNAME: https://ci.example.com\nDB_URI: sqlite:///slipway.db\n',
    says: [
      'config.yaml:1: SERVER_HOSTNAME is "https://ci.example.com"; it must be HOST or HOST:PORT, without http:// or https://.',
    ],
  },
  {
    name: 'a port beyond all ports',
    whole: 'SERVER_HOSTNAME: ci.example.com:70000\nDB_URI: sqlite:///slipway.db\n',
    says: [
      'config.yaml:1: SERVER_HOSTNAME is "ci.example.com:70000"; it must be an address with a port from 1 to 65535.',
    ],
  },
  {
    name: 'a manager without a port',
    file: 'BUILDMAN_HOSTNAME: build.example.com\n',
    says: [
      'config.yaml:3: BUILDMAN_HOSTNAME is "build.example.com", without a port, and not SERVER_HOSTNAME; it must be HOST:PORT, such as build.example.com:55443.',
    ],
  },
  {
    name: 'https without a certificate',
    file: 'PREFERRED_URL_SCHEME: https\n',
    says: [
      'config.yaml:3: PREFERRED_URL_SCHEME is "https", but there is no certificate; set SLIPWAY.TLS, put ssl.cert and ssl.key beside this file, or set EXTERNAL_TLS_TERMINATION when something in front speaks TLS.',
    ],
  },
  {
    name: 'TLS in front of http',
    file: 'EXTERNAL_TLS_TERMINATION: true\n',
    says: [
      'config.yaml:3: EXTERNAL_TLS_TERMINATION is true, but PREFERRED_URL_SCHEME is "http"; set PREFERRED_URL_SCHEME to https.',
    ],
  },
  {
    name: 'a certificate without its key',
    file: 'SLIPWAY: { TLS: { CERTIFICATE: /etc/ssl/ci.pem } }\n',
    says: ['config.yaml:3: SLIPWAY.TLS.KEY is missing; CERTIFICATE is of no use without it.'],
  },
  {
    name: 'an OAuth client at GitHub without its secret',
    file: 'GITHUB_TRIGGER_CONFIG: { CLIENT_ID: 0e8dbe15 }\n',
    says: [
      'config.yaml:3: GITHUB_TRIGGER_CONFIG.CLIENT_SECRET is missing; CLIENT_ID is of no use without it.',
    ],
  },
  {
    name: 'a secret of an OAuth client at GitLab without its name',
    file: 'GITLAB_TRIGGER_CONFIG: { CLIENT_SECRET: hunter2 }\n',
    says: [
      'config.yaml:3: GITLAB_TRIGGER_CONFIG.CLIENT_ID is missing; CLIENT_SECRET is of no use without it.',
    ],
  },
  {
    name: 'a consumer at Bitbucket without its secret',
    file: 'BITBUCKET_TRIGGER_CONFIG: { CONSUMER_KEY: abc }\n',
    says: [
      'config.yaml:3: BITBUCKET_TRIGGER_CONFIG.CONSUMER_SECRET is missing; CONSUMER_KEY is of no use without it.',
    ],
  },
  {
    name: 'an endpoint of GitHub that is a host',
    file: 'GITHUB_TRIGGER_CONFIG: { GITHUB_ENDPOINT: github.example.com }\n',
    says: [
      'config.yaml:3: GITHUB_TRIGGER_CONFIG.GITHUB_ENDPOINT is "github.example.com"; it must be a URL such as https://git.example.com, without a user, password or query.',
    ],
  },
  {
    name: 'an endpoint of GitHub that is no URL',
    file: 'GITHUB_TRIGGER_CONFIG: { API_ENDPOINT: "http://[git/api" }\n',
    says: [
      'config.yaml:3: GITHUB_TRIGGER_CONFIG.API_ENDPOINT is "http://[git/api"; it must be a URL such as https://git.example.com.',
    ],
  },
  {
    name: 'an endpoint of GitLab with a query',
    file: 'GITLAB_TRIGGER_CONFIG: { GITLAB_ENDPOINT: "https://gitlab.example.com/?a=b" }\n',
    says: [
      'config.yaml:3: GITLAB_TRIGGER_CONFIG.GITLAB_ENDPOINT is "https://gitlab.example.com/?a=b"; it must be a URL such as https://git.example.com, without a user, password or query.',
    ],
  },
  {
    name: 'the key of another host',
    file: 'GITLAB_TRIGGER_CONFIG: { GITHUB_ENDPOINT: "https://gitlab.example.com" }\n',
    says: [
      'config.yaml:3: GITLAB_TRIGGER_CONFIG.GITHUB_ENDPOINT is not a known key here. It belongs to GITHUB_TRIGGER_CONFIG or GITHUB_LOGIN_CONFIG.',
    ],
  },
  {
    name: 'a switch of a host that is neither on nor off',
    file: 'FEATURE_GITLAB_BUILD: maybe\n',
    says: ['config.yaml:3: FEATURE_GITLAB_BUILD is "maybe"; it must be true or false.'],
  },
  {
    name: 'remote workers that cannot reach the manager',
    file: executor('EXECUTOR: ec2\nEC2_REGION: eu-central-1\nEC2_INSTANCE_TYPE: t3.large'),
    says: [
      'config.yaml:1: BUILDMAN_HOSTNAME is missing; workers on other machines would be sent to port 55443, which needs a certificate. Set BUILDMAN_HOSTNAME to HOST:50051, or SLIPWAY.TLS, or SLIPWAY.LISTEN.ONE_PORT.',
    ],
  },
  {
    name: 'remote workers that are sent to the port of the pages',
    file: `BUILDMAN_HOSTNAME: ci.example.com\n${executor('EXECUTOR: ec2\nEC2_REGION: eu-central-1\nEC2_INSTANCE_TYPE: t3.large')}`,
    says: [
      'config.yaml:3: BUILDMAN_HOSTNAME is SERVER_HOSTNAME; workers on other machines would be sent to port 55443, which needs a certificate. Set BUILDMAN_HOSTNAME to HOST:50051, or SLIPWAY.TLS, or SLIPWAY.LISTEN.ONE_PORT.',
    ],
  },
  {
    name: 'a taint and a requirement of nodes that are none',
    file: `${executor('EXECUTOR: kubernetesPodman\nTOLERATIONS: ["a=b:Never"]\nNODE_AFFINITY: ["disk like ssd"]')}SLIPWAY: { LISTEN: { ONE_PORT: true } }\n`,
    says: [
      'config.yaml:7: BUILD_MANAGER[1].EXECUTORS[0].TOLERATIONS[0] is "a=b:Never"; it must be a taint such as dedicated=builds:NoSchedule, spot:NoExecute or spot.',
      'config.yaml:8: BUILD_MANAGER[1].EXECUTORS[0].NODE_AFFINITY[0] is "disk like ssd"; it must be a requirement such as disktype in (ssd,nvme), zone notin (a), builds or !gpu.',
    ],
  },
  {
    name: 'one port for two purposes',
    file: 'SLIPWAY: { LISTEN: { PORT: 50051 } }\n',
    says: [
      'config.yaml:3: SLIPWAY.LISTEN.GRPC_PORT is 50051, as PORT is; choose different ports, or set ONE_PORT.',
    ],
  },
  {
    name: 'a block that is none',
    file: 'SLIPWAY: { TRUSTED_PROXIES: [10.0.0.0/8, 10.0.0.0/40], ALLOW_PRIVATE: [10.0.0/8] }\n',
    says: [
      'config.yaml:3: SLIPWAY.TRUSTED_PROXIES[1] is "10.0.0.0/40"; it must be an address or a CIDR block such as 10.0.0.0/8.',
      'config.yaml:3: SLIPWAY.ALLOW_PRIVATE[0] is "10.0.0/8"; it must be a host or a CIDR block such as 10.0.0.0/8.',
    ],
  },
  // database
  {
    name: 'a database Slipway does not know',
    whole: 'SERVER_HOSTNAME: ci.example.com\nDB_URI: mysql+pymysql://quay:hunter2@db/quay\n',
    says: [
      'config.yaml:2: DB_URI names mysql, but Slipway keeps its data in PostgreSQL or SQLite; it must be postgresql://USER:PASSWORD@HOST/NAME or sqlite:///FILE.',
    ],
  },
  {
    name: 'a database without a name',
    whole: postgres('').replace('db/slipway', 'db'),
    says: [
      'config.yaml:2: DB_URI names no database; it must be postgresql://USER:PASSWORD@HOST/NAME or sqlite:///FILE.',
    ],
  },
  {
    name: 'a password that breaks the URL',
    whole: postgres('').replace('hunter2', 'hun[ter2').replace('@db', '@[db'),
    says: [
      'config.yaml:2: DB_URI is not a URL; encode special characters of the password, such as @ as %40; it must be postgresql://USER:PASSWORD@HOST/NAME or sqlite:///FILE.',
    ],
  },
  {
    name: 'no scheme at all',
    whole: 'SERVER_HOSTNAME: ci.example.com\nDB_URI: /var/lib/slipway.db\n',
    says: [
      'config.yaml:2: DB_URI has no scheme; it must be postgresql://USER:PASSWORD@HOST/NAME or sqlite:///FILE.',
    ],
  },
  {
    name: 'SQLite with two slashes',
    whole: 'SERVER_HOSTNAME: ci.example.com\nDB_URI: sqlite://slipway.db\n',
    says: [
      'config.yaml:2: DB_URI has no file: three slashes and a relative path, or four and an absolute one; it must be postgresql://USER:PASSWORD@HOST/NAME or sqlite:///FILE.',
    ],
  },
  {
    name: 'SQLite in memory',
    whole: 'SERVER_HOSTNAME: ci.example.com\nDB_URI: "sqlite:///:memory:"\n',
    says: [
      'config.yaml:2: DB_URI names no file, and data in memory would be lost; it must be postgresql://USER:PASSWORD@HOST/NAME or sqlite:///FILE.',
    ],
  },
  {
    name: 'PostgreSQL without a key for secrets',
    whole: 'SERVER_HOSTNAME: ci.example.com\nDB_URI: postgresql://db/slipway\n',
    says: [
      'config.yaml:1: DATABASE_SECRET_KEY is missing; with PostgreSQL it must be a text of at least 16 characters, the same for all managers.',
    ],
  },
  {
    name: 'former keys for secrets that are none',
    file: 'DATABASE_SECRET_KEY: hunter2hunter2hunter2\nSLIPWAY:\n  FORMER_DATABASE_SECRET_KEYS: [hunter2, hunter2hunter2hunter2, hunter2hunter2hunter3, hunter2hunter2hunter3]\n',
    says: [
      'config.yaml:5: SLIPWAY.FORMER_DATABASE_SECRET_KEYS[0] is [secret]; it must be a text of at least 16 characters.',
      'config.yaml:5: SLIPWAY.FORMER_DATABASE_SECRET_KEYS[1] is the same as DATABASE_SECRET_KEY; remove it, or change DATABASE_SECRET_KEY.',
      'config.yaml:5: SLIPWAY.FORMER_DATABASE_SECRET_KEYS[3] is [secret], which stands in the list already.',
    ],
  },
  {
    name: 'a key for secrets that is too short',
    file: 'DATABASE_SECRET_KEY: hunter2\n',
    says: ['config.yaml:3: DATABASE_SECRET_KEY is [secret]; it must be a text of at least 16 characters.'],
  },
  {
    name: 'an authority that is missing',
    whole: postgres('DB_CONNECTION_ARGS: { sslmode: verify-ca }\n'),
    says: [
      'config.yaml:4: DB_CONNECTION_ARGS.sslrootcert is missing; the sslmode verify-ca needs the authority that is trusted.',
    ],
  },
  {
    name: 'a mode of TLS with a slip',
    whole: postgres('DB_CONNECTION_ARGS: { sslmode: verify_full }\n'),
    says: [
      'config.yaml:4: DB_CONNECTION_ARGS.sslmode is "verify_full"; it must be one of disable, allow, prefer, require, verify-ca, verify-full. Did you mean verify-full?',
    ],
  },
  // Redis
  {
    name: 'Redis without a host',
    file: 'BUILDLOGS_REDIS: { port: 6379 }\n',
    says: ['config.yaml:3: BUILDLOGS_REDIS.host is missing. It is needed: Host name or address.'],
  },
  {
    name: 'a certificate for Redis without TLS',
    file: 'USER_EVENTS_REDIS: { host: redis, ssl_ca_certs: /etc/ca.pem }\n',
    says: ['config.yaml:3: USER_EVENTS_REDIS.ssl_ca_certs is set, but ssl is not; set ssl to true.'],
  },
  {
    name: 'a prefix inside of the orchestrator',
    file: manager('ORCHESTRATOR:\n  REDIS_HOST: redis\n  REDIS_PREFIX: builds'),
    says: [
      'config.yaml:7: BUILD_MANAGER[1].ORCHESTRATOR.REDIS_PREFIX is not a key: write the prefix as ORCHESTRATOR_PREFIX beside ORCHESTRATOR.',
    ],
  },
  {
    name: 'an orchestrator nobody knows',
    file: manager('ORCHESTRATOR:\n  ETCD_HOST: etcd'),
    says: [
      'config.yaml:6: BUILD_MANAGER[1].ORCHESTRATOR.ETCD_HOST names the backend "ETCD", which does not exist; it must be a mapping of keys that begin with REDIS_ or MEM_.',
    ],
  },
  {
    name: 'an orchestrator with a slip',
    file: manager('ORCHESTRATOR:\n  RDIS_HOST: redis'),
    says: [
      'config.yaml:6: BUILD_MANAGER[1].ORCHESTRATOR.RDIS_HOST names the backend "RDIS", which does not exist; it must be a mapping of keys that begin with REDIS_ or MEM_. Did you mean REDIS_HOST?',
    ],
  },
  {
    name: 'an empty orchestrator',
    file: manager('ORCHESTRATOR: {}'),
    says: [
      'config.yaml:5: BUILD_MANAGER[1].ORCHESTRATOR is empty; it must be a mapping of keys that begin with REDIS_ or MEM_.',
    ],
  },
  {
    name: 'two orchestrators at once',
    file: manager('ORCHESTRATOR:\n  REDIS_HOST: redis\n  MEM_SIZE: 5'),
    says: [
      'config.yaml:7: BUILD_MANAGER[1].ORCHESTRATOR.MEM_SIZE is not a known key. Keys here: REDIS_HOST, REDIS_PORT, REDIS_PASSWORD, REDIS_DB, REDIS_SSL, REDIS_CA_CERT, REDIS_CERT_AND_KEY, REDIS_SKIP_KEYSPACE_EVENT_SETUP.',
    ],
  },
  {
    name: 'a port that is none, and a password that is a mapping',
    file: manager('ORCHESTRATOR:\n  REDIS_HOST: redis\n  REDIS_PORT: redis\n  REDIS_PASSWORD: { hunter: 2 }'),
    says: [
      'config.yaml:7: BUILD_MANAGER[1].ORCHESTRATOR.REDIS_PORT is "redis"; it must be a whole number from 1 to 65535.',
      'config.yaml:8: BUILD_MANAGER[1].ORCHESTRATOR.REDIS_PASSWORD is a mapping; it must be text.',
    ],
  },
  {
    name: 'a certificate for Redis without its key',
    file: manager('ORCHESTRATOR:\n  REDIS_SSL: true\n  REDIS_CERT_AND_KEY: [/etc/cert.pem]'),
    says: [
      'config.yaml:7: BUILD_MANAGER[1].ORCHESTRATOR.REDIS_CERT_AND_KEY is a list of 1; it must be a list of two: certificate and key.',
    ],
  },
  // build manager
  {
    name: 'a build manager that is a mapping',
    file: 'BUILD_MANAGER:\n  ALLOWED_WORKER_COUNT: 1\n',
    says: [
      'config.yaml:3: BUILD_MANAGER is a mapping; it must be a list of two: ephemeral, and a mapping of its settings.',
    ],
  },
  {
    name: 'a build manager of three parts',
    file: 'BUILD_MANAGER: [ephemeral, {}, {}]\n',
    says: [
      'config.yaml:3: BUILD_MANAGER is a list of 3; it must be a list of two: ephemeral, and a mapping of its settings.',
    ],
  },
  {
    name: 'a build manager of the old kind',
    file: 'BUILD_MANAGER: [enterprise, {}]\n',
    says: ['config.yaml:3: BUILD_MANAGER[0] is "enterprise"; it must be one of ephemeral, external.'],
  },
  {
    name: 'settings of the build manager that are a list',
    file: 'BUILD_MANAGER: [ephemeral, [ALLOWED_WORKER_COUNT]]\n',
    says: ['config.yaml:3: BUILD_MANAGER[1] is a list of 1; it must be a mapping of keys to values.'],
  },
  {
    name: 'no executor in the list',
    file: manager('EXECUTORS: []'),
    says: [
      'config.yaml:5: BUILD_MANAGER[1].EXECUTORS is empty; it must have an executor, or be left out for one that is local.',
    ],
  },
  {
    name: 'executors that are a mapping',
    file: manager('EXECUTORS:\n  EXECUTOR: local'),
    says: ['config.yaml:5: BUILD_MANAGER[1].EXECUTORS is a mapping; it must be a list.'],
  },
  {
    name: 'an executor with a slip',
    file: executor('EXECUTOR: kubernets'),
    says: [
      'config.yaml:6: BUILD_MANAGER[1].EXECUTORS[0].EXECUTOR is "kubernets"; it must be one of local, popen, kubernetes, kubernetesPodman, ec2. Did you mean kubernetes?',
    ],
  },
  {
    name: 'an executor without a type',
    file: executor('NAME: fast'),
    says: [
      'config.yaml:6: BUILD_MANAGER[1].EXECUTORS[0].EXECUTOR is missing; it must be one of local, popen, kubernetes, kubernetesPodman, ec2.',
    ],
  },
  {
    name: 'two executors of one name',
    file: manager('EXECUTORS:\n- EXECUTOR: local\n- EXECUTOR: popen\n  NAME: local'),
    says: [
      'config.yaml:8: BUILD_MANAGER[1].EXECUTORS[1].NAME is a second executor "local", beside EXECUTORS[0]; give each a NAME of its own.',
    ],
  },
  {
    name: 'two executors without a name',
    file: manager('EXECUTORS:\n- EXECUTOR: local\n- EXECUTOR: local'),
    says: [
      'config.yaml:7: BUILD_MANAGER[1].EXECUTORS[1] is a second executor "local", beside EXECUTORS[0]; give each a NAME of its own.',
    ],
  },
  {
    name: 'an executor without what it needs',
    file: `BUILDMAN_HOSTNAME: ci.example.com:443\n${executor('EXECUTOR: ec2\nNAME: burst\nAWS_ACCESS_KEY: AKIA\nEC2_VPC_SUBNET_ID: subnet-1')}`,
    says: [
      'config.yaml:7: BUILD_MANAGER[1].EXECUTORS[0].EC2_REGION is missing in executor "burst" (ec2). It is needed: Region.',
      'config.yaml:7: BUILD_MANAGER[1].EXECUTORS[0].EC2_INSTANCE_TYPE is missing in executor "burst" (ec2). It is needed: Type of the instances, such as `t3.large`.',
      'config.yaml:7: BUILD_MANAGER[1].EXECUTORS[0].AWS_SECRET_KEY is missing in executor "burst" (ec2); AWS_ACCESS_KEY is of no use without it.',
      'config.yaml:7: BUILD_MANAGER[1].EXECUTORS[0].EC2_SECURITY_GROUP_IDS is missing in executor "burst" (ec2); EC2_VPC_SUBNET_ID needs at least one group.',
    ],
  },
  {
    name: 'a Kubernetes API nobody may speak to',
    file: `SLIPWAY: { LISTEN: { ONE_PORT: true } }\n${executor('EXECUTOR: kubernetesPodman\nNAME: openshift\nK8S_API_SERVER: api.example.com:6443')}`,
    says: [
      'config.yaml:7: BUILD_MANAGER[1].EXECUTORS[0].SERVICE_ACCOUNT_TOKEN is missing in executor "openshift" (kubernetesPodman); K8S_API_SERVER needs it, or SERVICE_ACCOUNT_TOKEN_FILE, or K8S_API_TLS_CERT with K8S_API_TLS_KEY.',
    ],
  },
  {
    name: 'a token for no API, twice',
    file: `SLIPWAY: { LISTEN: { ONE_PORT: true } }\n${executor('EXECUTOR: kubernetes\nSERVICE_ACCOUNT_TOKEN: eyJ\nSERVICE_ACCOUNT_TOKEN_FILE: /run/token')}`,
    says: [
      'config.yaml:7: BUILD_MANAGER[1].EXECUTORS[0].K8S_API_SERVER is missing in executor "kubernetes" (kubernetes); it must be HOST:PORT of the Kubernetes API that SERVICE_ACCOUNT_TOKEN is for.',
      'config.yaml:9: BUILD_MANAGER[1].EXECUTORS[0].SERVICE_ACCOUNT_TOKEN_FILE stands beside SERVICE_ACCOUNT_TOKEN in executor "kubernetes" (kubernetes); keep one of them.',
    ],
  },
  {
    name: 'a share above one',
    file: executor('EXECUTOR: local\nSTAGED_ROLLOUT: 50'),
    says: [
      'config.yaml:7: BUILD_MANAGER[1].EXECUTORS[0].STAGED_ROLLOUT is 50; it must be a number from 0 to 1.',
    ],
  },
  {
    name: 'a quantity Kubernetes does not know',
    file: `SLIPWAY: { LISTEN: { ONE_PORT: true } }\n${executor('EXECUTOR: kubernetesPodman\nCONTAINER_MEMORY_LIMITS: 5 GB')}`,
    says: [
      'config.yaml:8: BUILD_MANAGER[1].EXECUTORS[0].CONTAINER_MEMORY_LIMITS is "5 GB"; it must be a quantity of Kubernetes, such as 500m, 4G or 3968Mi.',
    ],
  },
  {
    name: 'a key of another executor',
    file: executor('EXECUTOR: local\nEC2_REGION: eu'),
    says: [
      'config.yaml:7: BUILD_MANAGER[1].EXECUTORS[0].EC2_REGION is not a known key here. It belongs to an executor of type ec2.',
    ],
  },
  {
    name: 'isolation for another engine',
    file: executor('EXECUTOR: local\nBUILD_ENGINE: docker\nBUILDAH_ISOLATION: chroot'),
    says: [
      'config.yaml:8: BUILD_MANAGER[1].EXECUTORS[0].BUILDAH_ISOLATION is of no use in executor "local" (local), whose BUILD_ENGINE is docker.',
    ],
  },
  {
    name: 'a user without a password',
    file: executor('EXECUTOR: local\nQUAY_USERNAME: robot'),
    says: [
      'config.yaml:6: BUILD_MANAGER[1].EXECUTORS[0].QUAY_PASSWORD is missing in executor "local" (local); QUAY_USERNAME is of no use without it.',
    ],
  },
  {
    name: 'the old form beside the new one',
    file: manager('EXECUTOR: local\nEXECUTORS:\n- EXECUTOR: popen'),
    says: [
      'config.yaml:5: BUILD_MANAGER[1].EXECUTOR stands beside EXECUTORS; keep EXECUTORS and move its settings there.',
    ],
  },
  {
    name: 'the old form without its type',
    file: manager('EXECUTOR_CONFIG:\n  DEBUG: true'),
    says: [
      'config.yaml:5: BUILD_MANAGER[1].EXECUTOR is missing beside EXECUTOR_CONFIG; it must be a type of executor.',
    ],
  },
  {
    name: 'the old form with a slip',
    file: manager('EXECUTOR: popen\nEXECUTOR_CONFIG:\n  DEBGU: true'),
    says: ['config.yaml:7: BUILD_MANAGER[1].EXECUTOR_CONFIG.DEBGU is not a known key. Did you mean DEBUG?'],
  },
  // storage
  {
    name: 'a storage with a slip',
    file: 'DISTRIBUTED_STORAGE_CONFIG: { main: [S3Storag, {}] }\n',
    says: [
      'config.yaml:3: DISTRIBUTED_STORAGE_CONFIG.main[0] is "S3Storag"; it must be one of LocalStorage, S3Storage, GoogleCloudStorage, RadosGWStorage, RHOCSStorage, IBMCloudStorage. Did you mean S3Storage?',
    ],
  },
  {
    name: 'a storage that is a mapping',
    file: 'DISTRIBUTED_STORAGE_CONFIG: { main: { storage_path: /data } }\n',
    says: [
      'config.yaml:3: DISTRIBUTED_STORAGE_CONFIG.main is a mapping; it must be a list of two: the type of the engine, and its settings.',
    ],
  },
  {
    name: 'a storage without its path',
    file: 'DISTRIBUTED_STORAGE_CONFIG: { main: [LocalStorage] }\n',
    says: [
      'config.yaml:3: DISTRIBUTED_STORAGE_CONFIG.main[1].storage_path is missing. It is needed: Folder. Several managers need one that they share.',
    ],
  },
  {
    name: 'a preference with a slip',
    file: 'DISTRIBUTED_STORAGE_CONFIG: { main: [LocalStorage, { storage_path: /data }] }\nDISTRIBUTED_STORAGE_PREFERENCE: [mian]\nLOG_ARCHIVE_LOCATION: cold\n',
    says: [
      'config.yaml:4: DISTRIBUTED_STORAGE_PREFERENCE[0] is "mian", which is not in DISTRIBUTED_STORAGE_CONFIG; it must be one of main. Did you mean main?',
      'config.yaml:5: LOG_ARCHIVE_LOCATION is "cold", which is not in DISTRIBUTED_STORAGE_CONFIG; it must be one of main.',
    ],
  },
  {
    name: 'half of the keys for S3',
    file: s3('s3_access_key: AKIA'),
    says: [
      'config.yaml:6: DISTRIBUTED_STORAGE_CONFIG.s3[1].s3_secret_key is missing; s3_access_key is of no use without it.',
    ],
  },
  {
    name: 'a scheme in the host of S3',
    file: s3('host: https://s3.example.com'),
    says: [
      'config.yaml:7: DISTRIBUTED_STORAGE_CONFIG.s3[1].host is "https://s3.example.com"; it must be a host name, without http:// or https://.',
    ],
  },
  {
    name: 'two addresses of S3',
    file: s3('host: s3.example.com\nendpoint_url: https://s3.example.com'),
    says: [
      'config.yaml:7: DISTRIBUTED_STORAGE_CONFIG.s3[1].host stands beside endpoint_url; keep one of them.',
    ],
  },
  {
    name: 'a secret of the wrong type',
    file: 'DISTRIBUTED_STORAGE_CONFIG:\n  ceph:\n  - RadosGWStorage\n  - { hostname: ceph, bucket_name: b, access_key: a, secret_key: [s] }\n',
    says: ['config.yaml:6: DISTRIBUTED_STORAGE_CONFIG.ceph[1].secret_key is a list of 1; it must be text.'],
  },
  {
    name: 'no engine in the storage',
    file: 'DISTRIBUTED_STORAGE_CONFIG: {}\n',
    says: ['config.yaml:3: DISTRIBUTED_STORAGE_CONFIG is empty; it must have an engine, or be left out.'],
  },
  // limits
  {
    name: 'a tail longer than the log',
    file: 'SLIPWAY: { LOG: { LIMIT: 1Mi, TAIL: 1Mi } }\n',
    says: [
      'config.yaml:3: SLIPWAY.LOG.TAIL is 1048576 bytes; it must be at most half of LIMIT, which is 1048576 bytes.',
    ],
  },
  {
    name: 'logs kept longer than builds',
    file: 'SLIPWAY: { RETENTION: { BUILDS: 1d, LOGS: 2d } }\n',
    says: ['config.yaml:3: SLIPWAY.RETENTION.LOGS is longer than BUILDS; the log of a build goes with it.'],
  },
  {
    name: 'a silence longer than the lease',
    file: 'SLIPWAY: { HEARTBEAT_TIMEOUT: 10m }\n',
    says: ['config.yaml:3: SLIPWAY.HEARTBEAT_TIMEOUT is 600 s; it must be at most LEASE, which is 300 s.'],
  },
  {
    name: 'a threshold of nothing',
    file: 'SUCCESSIVE_TRIGGER_FAILURE_DISABLE_THRESHOLD: 0\n',
    says: [
      'config.yaml:3: SUCCESSIVE_TRIGGER_FAILURE_DISABLE_THRESHOLD is 0; it must be a whole number of at least 1, or null (never).',
    ],
  },
  // environment
  {
    name: 'a variable with a slip',
    environment: { SLIPWAY_SERVER_HOSTNAM: 'ci' },
    says: [
      'environment SLIPWAY_SERVER_HOSTNAM: SLIPWAY_SERVER_HOSTNAM sets no known key. Did you mean SLIPWAY_SERVER_HOSTNAME?',
    ],
  },
  {
    name: 'a variable of the wrong type',
    environment: { SLIPWAY__LISTEN__PORT: 'http' },
    says: [
      'environment SLIPWAY__LISTEN__PORT: SLIPWAY.LISTEN.PORT is "http"; it must be a whole number from 0 to 65535.',
    ],
  },
  {
    name: 'a variable that leads nowhere',
    environment: { SLIPWAY_SERVER_HOSTNAME__PORT: '1' },
    says: [
      'environment SLIPWAY_SERVER_HOSTNAME__PORT: SLIPWAY_SERVER_HOSTNAME__PORT leads nowhere: SERVER_HOSTNAME → PORT is not a place in the configuration.',
    ],
  },
  {
    name: 'a variable beyond the end of a list',
    environment: { SLIPWAY_BUILD_MANAGER__EXECUTORS__3__NAME: 'x' },
    says: [
      'environment SLIPWAY_BUILD_MANAGER__EXECUTORS__3__NAME: SLIPWAY_BUILD_MANAGER__EXECUTORS__3__NAME leads nowhere: BUILD_MANAGER → EXECUTORS → 3 → NAME is not a place in the configuration.',
    ],
  },
  {
    name: 'a secret given twice',
    environment: { SLIPWAY_SECRET_KEY: '0123456789abcdef', SLIPWAY_SECRET_KEY_FILE: '/run/secrets/key' },
    says: [
      'environment SLIPWAY_SECRET_KEY_FILE: SLIPWAY_SECRET_KEY and SLIPWAY_SECRET_KEY_FILE set the same key; keep one of them.',
    ],
  },
  {
    name: 'a secret in a file that is not there',
    environment: { SLIPWAY_SECRET_KEY_FILE: '/run/none' },
    says: [
      'environment SLIPWAY_SECRET_KEY_FILE: SLIPWAY_SECRET_KEY_FILE names the file "/run/none", which cannot be read: ENOENT: no such file.',
    ],
  },
  {
    name: 'a secret that is too short',
    environment: { SLIPWAY_DATABASE_SECRET_KEY: 'hunter2' },
    says: [
      'environment SLIPWAY_DATABASE_SECRET_KEY: DATABASE_SECRET_KEY is [secret]; it must be a text of at least 16 characters.',
    ],
  },
];

describe('a bad configuration', () => {
  it.each(cases)('$name', ({ whole, file = '', bytes, environment = {}, says }) => {
    const text = whole ?? `${inOrder}${file}`;
    const { config, faults } = parseText(bytes === undefined ? text : Uint8Array.from(bytes), environment);
    expect(faultLines('config.yaml', faults)).toEqual(says);
    expect(config).toBeUndefined();
  });

  it('never shows a secret', () => {
    for (const { whole, file = '', environment = {} } of cases) {
      const parsed = parseText(whole ?? `${inOrder}${file}`, environment);
      expect(JSON.stringify(parsed)).not.toContain('hunter2');
    }
  });

  it('has all of its faults told at once, in the order of the file, the environment last', () => {
    const { faults } = parseText('DB_URI: mysql://db/x\nSUPER_USRES: []\nFEATURE_READER_BUILD_LOGS: 7\n', {
      SLIPWAY__LISTEN__PORT: 'http',
    });
    expect(faults.map(({ code, path }) => `${code} ${path}`)).toEqual([
      'missing-key SERVER_HOSTNAME',
      'not-allowed DB_URI',
      'unknown-key SUPER_USRES',
      'not-allowed FEATURE_READER_BUILD_LOGS',
      'not-allowed SLIPWAY.LISTEN.PORT',
    ]);
  });

  it('has its faults with value, what is allowed and what was meant, for programs', () => {
    const { faults } = parseText(`${inOrder}PREFERRED_URL_SCHEME: htps\nDATABASE_SECRET_KEY: hunter2\n`);
    expect(faults).toEqual([
      {
        code: 'not-allowed',
        path: 'PREFERRED_URL_SCHEME',
        origin: { kind: 'file', line: 3, column: 23 },
        message: 'PREFERRED_URL_SCHEME is "htps"; it must be one of http, https. Did you mean https?',
        value: '"htps"',
        allowed: 'one of http, https',
        nearest: 'https',
      },
      {
        code: 'not-allowed',
        path: 'DATABASE_SECRET_KEY',
        origin: { kind: 'file', line: 4, column: 22 },
        message: 'DATABASE_SECRET_KEY is [secret]; it must be a text of at least 16 characters.',
        value: '[secret]',
        allowed: 'a text of at least 16 characters',
      },
    ]);
  });
});
