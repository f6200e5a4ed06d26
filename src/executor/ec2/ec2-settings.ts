/** How one executor starts instances. The names in capitals are the configuration's. */
export interface Ec2Settings {
  /** The executor's name: of several on one account each finds its own instances only. */
  readonly executor: string;
  /** What all servers of one installation share and no other one on the account has: its hostname. */
  readonly site: string;
  /** COREOS_AMI; undefined: looked up for the channel. */
  readonly ami?: string;
  /** COREOS_CHANNEL */
  readonly channel: string;
  readonly region: string;
  /** EC2_INSTANCE_TYPE */
  readonly instanceType: string;
  /** EC2_VPC_SUBNET_ID */
  readonly subnet?: string;
  /** EC2_SECURITY_GROUP_IDS */
  readonly securityGroups: readonly string[];
  /** EC2_KEY_NAME */
  readonly keyName?: string;
  /** BLOCK_DEVICE_SIZE, in GiB. */
  readonly diskSize: number;
}
