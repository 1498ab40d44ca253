/// The machines that a prediction is about.
public struct Cluster: Sendable {
  /// How fast a thread computes.
  public var kernel: KernelCurve
  /// The link of each host to the others, which do not get in each other's way.
  public var network: Link
  /// The way between two ranks of a host; its bytes a second are those of one pair.
  public var inside: Link
  /// Ranks of a host; the last host may have fewer.
  public var ranksPerHost: Int
  /// Threads of a rank.
  public var threads: Int
  /// Cores of a host, or of all hosts together if they share them; nil if each thread has one.
  public var cores: Int?
  /// What the cores of a host take from each other; nil if nothing.
  public var coreCurve: CoreCurve?
  /// What they get out of memory together; nil if links inside a host say all.
  public var memory: MemoryCurve?
  /// Whether the hosts are one machine's, as those of an emulated cluster.
  public var sharesCores = false
  /// How ranks are counted.
  public var mapping = Mapping.slot
  /// Standard deviation of the time of a visit, over its mean.
  public var noise = 0.0
  /// Seconds that a visit takes besides its flops.
  public var visitSeconds = 0.0
  /// Seconds of a pass before and after all visits.
  public var startUp = 0.0
  /// Seconds that one thread takes to turn all queries and keys of a sequence by their positions;
  /// ranks turn their own.
  public var turningSeconds = 0.0

  /// How ranks are counted: host by host, or round the hosts.
  public enum Mapping: String, Sendable, CaseIterable {
    case slot, node
  }

  /// A cluster without noise whose threads have cores of their own.
  public init(
    kernel: KernelCurve, network: Link, inside: Link, ranksPerHost: Int = 1, threads: Int = 1
  ) {
    self.kernel = kernel
    self.network = network
    self.inside = inside
    self.ranksPerHost = ranksPerHost
    self.threads = threads
  }

  /// How many hosts so many ranks need.
  func hosts(ranks: Int) -> Int { (ranks + ranksPerHost - 1) / ranksPerHost }

  /// The host of each rank.
  func hostsOfRanks(_ ranks: Int) -> [Int] {
    let hosts = hosts(ranks: ranks)
    return (0..<ranks).map { mapping == .slot ? $0 / ranksPerHost : $0 % hosts }
  }
}
