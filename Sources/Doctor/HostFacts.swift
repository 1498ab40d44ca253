/// What one host is like, as its first rank sees it.
///
/// The names are fields of the JSON object.
package struct HostFacts: Codable, Sendable {
  package var name = ""
  package var kernel = ""
  /// The same for all that the same kernel runs: containers and namespaces of one machine are hosts
  /// too.
  package var bootIdentifier = ""
  /// The processor's model.
  package var processor = ""
  /// The best instruction set that there are kernels for and the processor has.
  package var instructionSet: String?
  /// The hardware threads of each core that is online, as Linux numbers them.
  package var cores: [[Int]] = []
  /// The hardware threads of each node of its memory (NUMA); none where that is not known.
  package var memoryNodes: [[Int]] = []
  /// How many processors' time the control group grants.
  package var coreQuota: Double?
  package var memoryBytes = 0
  /// Never more than the control group grants.
  package var availableMemoryBytes = 0
  /// The most that the control group grants.
  package var memoryLimitBytes: Int?
  /// Where ranks share memory; nil where that cannot be looked at.
  package var sharedMemory: SharedMemory?
  package var interfaces: [NetworkInterface] = []
  /// InfiniBand and RoCE adapters.
  package var infiniband: [String] = []
  /// What sets the processor's frequency, driver and governor; nil where nobody says.
  package var frequencyDriver: String?
  package var frequencyGovernor: String?
  /// Who may look into whose memory (Yama); nil where the kernel lets all of a user's processes.
  package var ptraceScope: Int?
  /// Whether the host finds an address for its own name, and how long that took.
  package var resolvesOwnName = true
  package var resolutionSeconds = 0.0
  /// Parameters of Open MPI in effect.
  package var parameters: [String: String] = [:]
  /// Components of Open MPI that are open, by framework.
  package var components: [String: [String]] = [:]

  package init() {}

  /// The folder in which ranks share memory.
  package struct SharedMemory: Codable, Sendable {
    package var folder = "/dev/shm"
    package var totalBytes = 0
    package var freeBytes = 0

    package init(totalBytes: Int, freeBytes: Int) {
      self.totalBytes = totalBytes
      self.freeBytes = freeBytes
    }
  }

  /// The hardware threads that are online.
  package var cpus: Set<Int> { Set(cores.joined()) }

  /// How many nodes of memory some hardware threads are near to.
  package func memoryNodeCount(of cpus: some Collection<Int>) -> Int {
    let cpus = Set(cpus)
    return memoryNodes.count { !cpus.isDisjoint(with: $0) }
  }

  /// How many different cores some hardware threads belong to.
  package func coreCount(of cpus: some Collection<Int>) -> Int {
    let cpus = Set(cpus)
    return cores.count { !cpus.isDisjoint(with: $0) }
  }
}

/// An address of a network interface of a host, IPv4.
package struct NetworkInterface: Codable, Sendable {
  package var name: String
  /// As `10.77.0.1`.
  package var address: String
  /// How many bits of the address name the network.
  package var prefixLength: Int
  package var isUp: Bool
  package var isLoopback: Bool
  /// Nil where the driver does not say.
  package var megabitsPerSecond: Int?

  package init(
    name: String, address: String, prefixLength: Int = 24, isUp: Bool = true,
    isLoopback: Bool = false, megabitsPerSecond: Int? = nil
  ) {
    self.name = name
    self.address = address
    self.prefixLength = prefixLength
    self.isUp = isUp
    self.isLoopback = isLoopback
    self.megabitsPerSecond = megabitsPerSecond
  }
}
