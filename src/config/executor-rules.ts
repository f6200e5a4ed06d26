import type { LooseConfig, RuleReport } from './rule-report.ts';

type Executor = Readonly<Record<string, unknown>>;

export function executorRules(config: LooseConfig, report: RuleReport): void {
  if (config.BUILD_MANAGER?.[0] !== 'ephemeral') return;
  const executors = config.BUILD_MANAGER[1]?.EXECUTORS;
  if (executors === undefined) return;
  const all = ['BUILD_MANAGER', 1, 'EXECUTORS'];
  if (executors.length === 0)
    report.fault(
      'missing-key',
      all,
      'is empty; it must have an executor, or be left out for one that is local.',
    );
  const names = new Map<string, string>();
  executors.forEach((each, index) => {
    if (each?.EXECUTOR === undefined) return;
    const executor: Executor = each;
    const at = [...all, index];
    const name = each.NAME ?? each.EXECUTOR;
    const other = names.get(name);
    if (other !== undefined)
      report.fault(
        'duplicate',
        each.NAME === undefined ? at : [...at, 'NAME'],
        `is a second executor ${JSON.stringify(name)}, beside ${other}; give each a NAME of its own.`,
        { value: JSON.stringify(name) },
      );
    names.set(name, `EXECUTORS[${index}]`);
    rulesOf(executor, at, `executor ${JSON.stringify(name)} (${each.EXECUTOR})`, report);
  });
}

function rulesOf(executor: Executor, at: (string | number)[], who: string, report: RuleReport): void {
  const missing = (key: string, why: string) =>
    report.fault('missing-key', [...at, key], `is missing in ${who}; ${why}.`);
  const excluded = (key: string, other: string) => {
    if (executor[key] !== undefined && executor[other] !== undefined)
      report.fault('contradiction', [...at, key], `stands beside ${other} in ${who}; keep one of them.`);
  };
  const pair = (first: string, second: string) => {
    if ((executor[first] === undefined) === (executor[second] === undefined)) return;
    const [given, absent] = executor[first] === undefined ? [second, first] : [first, second];
    missing(absent, `${given} is of no use without it`);
  };
  pair('QUAY_USERNAME', 'QUAY_PASSWORD');
  switch (executor.EXECUTOR) {
    case 'kubernetes':
    case 'kubernetesPodman':
      pair('K8S_API_TLS_CERT', 'K8S_API_TLS_KEY');
      excluded('SERVICE_ACCOUNT_TOKEN_FILE', 'SERVICE_ACCOUNT_TOKEN');
      excluded('KUBECONFIG', 'K8S_API_SERVER');
      kubernetesRules(executor, missing);
      return;
    case 'ec2':
      pair('AWS_ACCESS_KEY', 'AWS_SECRET_KEY');
      if (executor.EC2_VPC_SUBNET_ID !== undefined && isEmpty(executor.EC2_SECURITY_GROUP_IDS))
        missing('EC2_SECURITY_GROUP_IDS', 'EC2_VPC_SUBNET_ID needs at least one group');
      return;
    default:
      if (
        executor.BUILDAH_ISOLATION !== undefined &&
        !['auto', 'buildah'].includes(String(executor.BUILD_ENGINE))
      )
        report.fault(
          'contradiction',
          [...at, 'BUILDAH_ISOLATION'],
          `is of no use in ${who}, whose BUILD_ENGINE is ${String(executor.BUILD_ENGINE)}.`,
        );
  }
}

function kubernetesRules(executor: Executor, missing: (key: string, why: string) => void): void {
  const { K8S_API_SERVER: server } = executor;
  const credentials = ['SERVICE_ACCOUNT_TOKEN', 'SERVICE_ACCOUNT_TOKEN_FILE', 'K8S_API_TLS_CERT'];
  const given = credentials.find((key) => executor[key] !== undefined);
  if (typeof server === 'string' && given === undefined && !server.startsWith('http://'))
    missing(
      'SERVICE_ACCOUNT_TOKEN',
      'K8S_API_SERVER needs it, or SERVICE_ACCOUNT_TOKEN_FILE, or K8S_API_TLS_CERT with K8S_API_TLS_KEY',
    );
  if (server === undefined && given !== undefined)
    missing('K8S_API_SERVER', `it must be HOST:PORT of the Kubernetes API that ${given} is for`);
}

function isEmpty(list: unknown): boolean {
  return !Array.isArray(list) || list.length === 0;
}
