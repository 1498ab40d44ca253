import Doctor
import Hosts
import MPI
import Testing

/// Findings about what hosts have and what is installed on them.
extension DoctorFindingsTests {
  // MARK: Memory

  /// Docker gives /dev/shm 64 MiB unless told.
  @Test func littleSharedMemory() throws {
    var facts = job()
    facts.hosts[0].sharedMemory = .init(totalBytes: 64 << 20, freeBytes: 60 << 20)
    try expect(
      facts, .warning, .sharedMemory, "60.0 MiB free of 64.0 MiB for 4 ranks", "7,680 tokens",
      remedy: "--shm-size")
    facts.hosts[0].sharedMemory = .init(totalBytes: 64 << 20, freeBytes: 15 << 20)
    try expect(facts, .problem, .sharedMemory, "4 MiB a rank", remedy: "--shm-size")
  }

  @Test func aRankAloneOnItsHostSharesNothing() throws {
    var facts = job(hosts: 4, ranksPerHost: 1)
    for index in facts.hosts.indices {
      facts.hosts[index].cores = [[0]]
      facts.hosts[index].sharedMemory = .init(totalBytes: 1 << 20, freeBytes: 0)
    }
    #expect(findings(from: facts).allSatisfy { $0.severity == .ok })
  }

  @Test func memoryThatIsNotForThisJob() throws {
    var facts = job()
    facts.hosts[0].memoryLimitBytes = 8 << 30
    try expect(
      facts, .warning, .memory, "8.00 GiB of the host's 64.0 GiB", remedy: "docker run --memory")
    facts = job()
    facts.hosts[0].availableMemoryBytes = 4 << 30
    try expect(facts, .note, .memory, "4.00 GiB of 64.0 GiB", remedy: "ps aux")
  }

  // MARK: Single copy

  @Test func singleCopyThatTheKernelRefuses() throws {
    var facts = job()
    facts.ranks[2].readsNextRanksMemory = false
    try expect(
      facts, .problem, .singleCopy, "the kernel refused", remedy: "SYS_PTRACE", ranks: [2])
    facts.hosts[0].parameters["btl_vader_single_copy_mechanism"] = "none"
    try expect(facts, .warning, .singleCopy, "does not permit", remedy: "ptrace_scope=0")
  }

  @Test func singleCopyThatIsOff() throws {
    var facts = job()
    facts.hosts[0].parameters["btl_vader_single_copy_mechanism"] = "none"
    try expect(
      facts, .note, .singleCopy, "copied twice", "the kernel permits it",
      remedy: "btl_vader_single_copy_mechanism")
  }

  @Test func noSharedMemoryComponent() throws {
    var facts = job()
    facts.hosts[0].components["btl"] = ["self", "tcp"]
    facts.hosts[0].parameters["btl_vader_single_copy_mechanism"] = nil
    try expect(facts, .warning, .singleCopy, "vader", remedy: "--mca btl self,vader,tcp")
  }

  // MARK: Versions and processors

  @Test func differentLibraries() throws {
    var facts = job(hosts: 3)
    for rank in 8..<12 { facts.ranks[rank].library = "Open MPI v4.1.6, package: x" }
    try expect(
      facts, .problem, .versions, "Open MPI is not the same", "4.1.4 on node1 and node2",
      "4.1.6 on node3", remedy: "--prefix")
  }

  @Test func differentBuilds() throws {
    var facts = job(hosts: 2)
    for rank in 4..<8 { facts.ranks[rank].executable = "fedcba9876543210" }
    try expect(
      facts, .problem, .versions, "build 01234567 on node1; build fedcba98 on node2",
      remedy: "Copy one build")
    for rank in 4..<8 { facts.ranks[rank].gyreVersion = "0.0.9" }
    try expect(
      facts, .problem, .versions, "0.1.0 on node1; 0.0.9 on node2",
      remedy: "Build once")
  }

  @Test func anotherLibraryThanCompiledWith() throws {
    for (version, severity) in [("4.1.6", nil), ("4.0.3", .warning), ("5.0.1", .problem)]
      as [(String, Finding.Severity?)]
    {
      var facts = job()
      for index in facts.ranks.indices {
        facts.ranks[index].library = "Open MPI v\(version), package: x"
      }
      if let severity {
        try expect(
          facts, severity, .versions, "compiled with Open MPI 4.1.4 and has loaded \(version)",
          remedy: "swift build", ranks: [0, 1, 2, 3])
      } else {
        #expect(findings(from: facts).allSatisfy { $0.severity == .ok })
      }
    }
  }

  @Test func lessThanTheProcessorHas() throws {
    var facts = job(hosts: 2)
    for index in facts.hosts.indices { facts.hosts[index].instructionSet = "avx512" }
    try expect(
      facts, .note, .processor, "has avx512, and kernels of avx2",
      remedy: "Leave --instructions out", hosts: ["node1", "node2"])
    for index in facts.ranks.indices { facts.ranks[index].instructionSet = "avx512" }
    #expect(findings(from: facts).allSatisfy { $0.severity == .ok })
    // Each the best that it has.
    facts.hosts[0].instructionSet = "avx2"
    for index in facts.ranks.indices where facts.ranks[index].host == 0 {
      facts.ranks[index].instructionSet = "avx2"
    }
    try expect(
      facts, .note, .processor, "avx2 (node1), avx512 (node2)", remedy: "--weights")
  }

  @Test func differentProcessors() throws {
    var facts = job(hosts: 3)
    facts.hosts[1].processor = "Another"
    try expect(
      facts, .note, .processor, "A processor (node1 and node3), Another (node2)",
      remedy: "--weights")
  }

  @Test func aProcessorThatIsKeptSlow() throws {
    var facts = job()
    facts.hosts[0].frequencyGovernor = "powersave"
    facts.hosts[0].frequencyDriver = "acpi-cpufreq"
    try expect(facts, .warning, .processor, "powersave", remedy: "cpupower")
    facts.hosts[0].frequencyDriver = "intel_pstate"
    #expect(findings(from: facts).allSatisfy { $0.severity == .ok })
  }

  // MARK: Network

  /// Every host has the same address on the bridge to its containers.
  @Test func aBridgeThatAllHostsHave() throws {
    var facts = job(hosts: 2)
    for index in facts.hosts.indices {
      facts.hosts[index].interfaces.append(
        NetworkInterface(name: "docker0", address: "172.17.0.1", prefixLength: 16))
    }
    try expect(
      facts, .problem, .network, "172.17.0.1 (docker0)", "hangs",
      remedy: "btl_tcp_if_include 10.0.0.0/24", hosts: ["node1", "node2"])
    // One that is down, left out, or not named is not used.
    var down = facts
    for index in down.hosts.indices { down.hosts[index].interfaces[2].isUp = false }
    #expect(findings(from: down).allSatisfy { $0.severity == .ok })
    for (name, value) in [
      ("btl_tcp_if_exclude", "lo,docker0"), ("btl_tcp_if_exclude", "127.0.0.0/8,172.16.0.0/12"),
      ("btl_tcp_if_include", "eth0"), ("btl_tcp_if_include", "10.0.0.0/16"),
    ] {
      var told = facts
      for index in told.hosts.indices { told.hosts[index].parameters[name] = value }
      let bad = findings(from: told).filter { $0.severity != .ok }
      #expect(bad.isEmpty, "\(name) \(value): \(bad)")
    }
  }

  @Test func aBridgeThatOneHostHas() throws {
    var facts = job(hosts: 2)
    facts.hosts[1].interfaces.append(
      NetworkInterface(name: "virbr0", address: "192.168.122.1"))
    try expect(
      facts, .warning, .network, "virbr0", remedy: "btl_tcp_if_include 10.0.0.0/24",
      hosts: ["node2"])
    // Hosts are not reached through it where there is only one.
    facts = job()
    facts.hosts[0].interfaces.append(NetworkInterface(name: "virbr0", address: "192.168.122.1"))
    #expect(findings(from: facts).allSatisfy { $0.severity == .ok })
  }

  @Test func noInterfaceAndNoNetwork() throws {
    var facts = job(hosts: 2)
    facts.hosts[1].interfaces[1].isUp = false
    try expect(facts, .warning, .network, "No interface", remedy: "btl_tcp_if_include")
    facts = job(hosts: 2)
    facts.hosts[1].interfaces[1].address = "10.1.0.2"
    try expect(facts, .note, .network, "share no network", remedy: "one network")
  }

  @Test func aFastAdapterThatStandsIdle() throws {
    var facts = job(hosts: 2)
    facts.hosts[0].infiniband = ["mlx5_0"]
    try expect(facts, .warning, .network, "mlx5_0", remedy: "--mca pml ucx", hosts: ["node1"])
    for index in facts.hosts.indices { facts.hosts[index].components["pml"] = ["ucx"] }
    #expect(findings(from: facts).allSatisfy { $0.severity == .ok })
    for index in facts.ranks.indices { facts.ranks[index].lockedMemoryLimitBytes = 64 << 10 }
    try expect(facts, .warning, .limits, "ulimit -l", remedy: "unlimited", ranks: [0, 1, 2, 3])
  }

  @Test func wholeMessagesOverTCP() throws {
    var facts = job(hosts: 2)
    for index in facts.hosts.indices { facts.hosts[index].parameters["btl_tcp_flags"] = "315" }
    try expect(facts, .note, .openMPI, "315", remedy: "unset", hosts: ["node1", "node2"])
  }

  @Test func namesThatAreNotFound() throws {
    var facts = job()
    facts.hosts[0].resolvesOwnName = false
    try expect(facts, .note, .names, "no address", remedy: "/etc/hosts")
    facts = job()
    facts.hosts[0].resolutionSeconds = 5
    try expect(facts, .warning, .names, "takes 5 s", remedy: "/etc/resolv.conf")
  }

  // MARK: Launch

  @Test func rootAndOtherUsers() throws {
    var facts = job()
    for index in facts.ranks.indices { facts.ranks[index].user = 0 }
    try expect(facts, .note, .user, "root", remedy: "account of your own")
    facts.ranks[3].user = 1001
    try expect(facts, .warning, .user, "0, 1001", remedy: "same account")
  }

  @Test func slotsOfMpirun() throws {
    var facts = job()
    facts.slots = 2
    try expect(facts, .note, .slots, "4 ranks were started on 2 slots", remedy: "--hostfile")
    facts = job(ranksPerHost: 1)
    facts.hosts[0].cores = [[0]]
    facts.slots = 1
    try expect(facts, .note, .slots, "refuse to start a second one", remedy: "--hostfile")
  }

  @Test func limitsOfTheShell() throws {
    var facts = job()
    facts.ranks[1].fileSizeLimitBytes = 1 << 20
    try expect(facts, .warning, .limits, "1.00 MiB", "ulimit -f", remedy: "unlimited", ranks: [1])
    facts = job()
    facts.ranks[1].openFilesLimit = 100
    try expect(facts, .problem, .limits, "100 files", "need 132", remedy: "ulimit -n")
    facts = job()
    facts.ranks[1].addressSpaceLimitBytes = 1 << 30
    try expect(facts, .warning, .limits, "ulimit -v", remedy: "unlimited")
  }

  // MARK: Alone

  private func alone(_ version: String?, slots: [MpirunFacts.Slots]? = nil) -> JobFacts {
    var facts = job(ranksPerHost: 1)
    facts.ranks[0].cpus = [0, 1, 2, 3]
    var mpirun = MpirunFacts()
    mpirun.version = version
    mpirun.slots = slots ?? [.init(host: "node1", count: 4)]
    facts.mpirun = mpirun
    return facts
  }

  @Test func mpirunWithoutAJob() throws {
    #expect(findings(from: alone("mpirun (Open MPI) 4.1.4")).allSatisfy { $0.severity == .ok })
    try expect(alone(nil), .problem, .mpirun, "no mpirun on PATH", remedy: "openmpi-bin")
    try expect(
      alone("HYDRA build details:"), .problem, .mpirun, "not Open MPI's",
      remedy: "update-alternatives")
    try expect(
      alone("mpirun (Open MPI) 4.1.6"), .warning, .mpirun, "4.1.6", "4.1.4",
      remedy: "LD_LIBRARY_PATH")
    try expect(
      alone("mpirun (Open MPI) 5.0.1"), .problem, .mpirun, "5.0.1", "4.1.4",
      remedy: "LD_LIBRARY_PATH")
    try expect(
      alone("mpirun (Open MPI) 4.1.4", slots: [.init(host: "a", count: 1)]), .note, .slots,
      "one slot (a: 1)", remedy: "--hostfile")
    try expect(
      alone("mpirun (Open MPI) 4.1.4", slots: []), .problem, .slots, "did not start",
      remedy: "mpirun -n 1 hostname")
    var root = alone("mpirun (Open MPI) 4.1.4")
    root.ranks[0].user = 0
    root.mpirun?.refusesRoot = true
    try expect(root, .warning, .user, "You are root", remedy: "--allow-run-as-root")
  }

  @Test func slotsAreReadFromWhatMpirunPrints() {
    let text = """

      ======================   ALLOCATED NODES   ======================
      \tnode1: flags=0x11 slots=2 max_slots=0 slots_inuse=0 state=UP
      \tnode2: flags=0x10 slots=16 max_slots=0 slots_inuse=0 state=UNKNOWN
      =================================================================
      """
    #expect(
      MpirunFacts.slots(inAllocation: text) == [
        .init(host: "node1", count: 2), .init(host: "node2", count: 16),
      ])
  }

  // MARK: What the system says

  @Test func numbersInRanges() {
    #expect(numbers(inRanges: "0-3,8,10-11") == [0, 1, 2, 3, 8, 10, 11])
    #expect(numbers(inRanges: "0") == [0])
    #expect(numbers(inRanges: "") == [] && numbers(inRanges: "a-b,3-1") == [])
    #expect(ranges([0, 1, 2, 3, 8, 10, 11]) == "0-3,8,10-11" && ranges([]) == "")
  }
}
