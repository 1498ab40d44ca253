import Doctor
import Hosts
import MPI
import Testing

/// What the doctor makes of facts that this machine does not have.
@Suite("What gyre doctor finds")
struct DoctorFindingsTests {
  /// A job as it should be: hosts of 4 cores, a rank bound to each, one network.
  private func job(hosts: Int = 1, ranksPerHost: Int = 4) -> JobFacts {
    let hostFacts = (0..<hosts).map { index in
      var host = HostFacts()
      host.name = "node\(index + 1)"
      host.bootIdentifier = "boot \(index)"
      host.processor = "A processor"
      host.instructionSet = "x86-64-v3"
      host.cores = (0..<4).map { [$0] }
      host.memoryBytes = 64 << 30
      host.availableMemoryBytes = 60 << 30
      host.sharedMemory = .init(totalBytes: 32 << 30, freeBytes: 31 << 30)
      host.interfaces = [
        NetworkInterface(name: "lo", address: "127.0.0.1", prefixLength: 8, isLoopback: true),
        NetworkInterface(name: "eth0", address: "10.0.0.\(index + 1)", megabitsPerSecond: 10_000),
      ]
      host.parameters = [
        "btl_tcp_if_include": "", "btl_tcp_if_exclude": "lo,sppp", "btl_tcp_flags": "1",
        "btl_vader_single_copy_mechanism": "cma", "mpi_yield_when_idle": "false",
      ]
      host.components = ["pml": ["ob1"], "btl": ["self", "tcp", "vader"]]
      return host
    }
    let ranks = (0..<hosts * ranksPerHost).map { index in
      var rank = RankFacts()
      rank.rank = index
      rank.host = index / ranksPerHost
      rank.cpus = [index % ranksPerHost]
      rank.gyreVersion = "0.1.0"
      rank.instructionSet = "x86-64-v3"
      rank.executable = "0123456789abcdef"
      rank.library = "Open MPI v4.1.4, package: Debian OpenMPI, ident: 4.1.4"
      rank.compiledLibrary = "4.1.4"
      rank.readsNextRanksMemory = ranksPerHost > 1 ? true : nil
      rank.openFilesLimit = 1024
      return rank
    }
    return JobFacts(hosts: hostFacts, ranks: ranks)
  }

  /// The only finding that is not good.
  private func onlyFinding(
    _ facts: JobFacts, sourceLocation: SourceLocation = #_sourceLocation
  ) throws -> Finding {
    let bad = findings(from: facts).filter { $0.severity != .ok }
    try #require(bad.count == 1, "\(bad)", sourceLocation: sourceLocation)
    return bad[0]
  }

  private func expect(
    _ facts: JobFacts, _ severity: Finding.Severity, _ topic: Finding.Topic, _ words: String...,
    remedy: String, hosts: [String]? = nil, ranks: [Int]? = nil,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let finding = try onlyFinding(facts, sourceLocation: sourceLocation)
    #expect(finding.severity == severity, "\(finding)", sourceLocation: sourceLocation)
    #expect(finding.topic == topic, "\(finding)", sourceLocation: sourceLocation)
    for word in words {
      #expect(finding.sentence.contains(word), "\(finding)", sourceLocation: sourceLocation)
    }
    #expect(
      finding.remedy?.contains(remedy) ?? false, "\(finding)", sourceLocation: sourceLocation)
    if let hosts { #expect(finding.hosts == hosts, sourceLocation: sourceLocation) }
    if let ranks { #expect(finding.ranks == ranks, sourceLocation: sourceLocation) }
  }

  @Test("ranks that MPI does not see are a problem")
  func announcedRanks() throws {
    var facts = job(ranksPerHost: 4)
    facts.announced = AnnouncedRanks { ["PMI_SIZE": "4", "PMI_RANK": "0"][$0] }
    #expect(findings(from: facts).allSatisfy { $0.severity == .ok })
    facts.announced = AnnouncedRanks { ["PMI_SIZE": "8", "PMI_RANK": "0"][$0] }
    try expect(
      facts, .problem, .mpirun, "has started 8 ranks (PMI_SIZE)", "sees 4",
      remedy: "Open MPI's mpirun")
  }

  @Test("without its component for shared memory ranks send what they could read")
  func noSharedWindows() throws {
    var facts = job()
    facts.hosts[0].components["osc"] = ["sm", "rdma"]
    #expect(findings(from: facts).allSatisfy { $0.severity == .ok })
    facts.hosts[0].components["osc"] = ["ucx"]
    facts.hosts[0].parameters["osc"] = "ucx"
    try expect(facts, .warning, .sharedMemory, "osc is set to ucx", remedy: "unset OMPI_MCA_osc")
  }

  @Test("mpirun's own words are found among its frames")
  func wordsOfMpirun() {
    let rule = String(repeating: "-", count: 74)
    let errors = """
      \(rule)
      A call to mkdir was unable to create the desired directory:

        Directory: /tmp/ompi.vm.0
        Error:     Read-only file system
      \(rule)
      [vm:28151] [[265,0],0] ORTE_ERROR_LOG: Error in file session_dir.c at line 107
      \(rule)
      It looks like orte_init failed for some reason
      \(rule)
      """
    #expect(
      Trial.words(in: errors)
        == "A call to mkdir was unable to create the desired directory: Directory: /tmp/ompi.vm.0 "
        + "Error: Read-only file system")
    #expect(Trial.words(in: "[vm:1] ORTE_ERROR_LOG: x\n").isEmpty)
    #expect(Trial.words(in: "").isEmpty)
  }

  @Test("a job as it should be", arguments: [(1, 4), (3, 4), (2, 4), (64, 4)])
  func good(hosts: Int, ranksPerHost: Int) {
    let all = findings(from: job(hosts: hosts, ranksPerHost: ranksPerHost))
    #expect(all.allSatisfy { $0.severity == .ok }, "\(all)")
    // Cores, binding, versions, processor, memory, single copy, network, limits: one line each,
    // however many hosts there are.
    #expect(all.count == 8, "\(all)")
  }

  // MARK: Cores

  @Test func ranksBoundToTheSameCore() throws {
    var facts = job(hosts: 2)
    facts.ranks[6].cpus = [3]
    try expect(
      facts, .problem, .binding, "2 ranks are bound to the same core (3), of 4",
      remedy: "--map-by slot:PE=1", hosts: ["node2"], ranks: [6, 7])
  }

  @Test func threadsBoundToOneCore() throws {
    var facts = job(ranksPerHost: 2)
    facts.threads = 2
    facts.ranks[1].cpus = [2, 3]
    try expect(
      facts, .problem, .binding, "The 2 threads of a rank are bound to the same core (0)",
      remedy: "--map-by slot:PE=2", ranks: [0])
    facts.ranks[0].cpus = [0, 1]
    #expect(findings(from: facts).allSatisfy { $0.severity == .ok })
  }

  /// Ranks 0 and 1 meet only through rank 2.
  @Test func ranksThatShareTooFewCoresInAChain() throws {
    var facts = job(ranksPerHost: 3)
    facts.ranks[0].cpus = [0]
    facts.ranks[1].cpus = [1]
    facts.ranks[2].cpus = [0, 1]
    try expect(
      facts, .problem, .binding, "3 ranks are bound to the same 2 cores (0-1)",
      remedy: "--bind-to none", ranks: [0, 1, 2])
  }

  @Test func moreRanksThanCores() throws {
    var facts = job(hosts: 2, ranksPerHost: 8)
    for index in facts.ranks.indices { facts.ranks[index].cpus = [0, 1, 2, 3] }
    try expect(
      facts, .warning, .cores, "8 ranks run on 4 cores", "keeps its core from the others",
      remedy: "--mca mpi_yield_when_idle 1", hosts: ["node1", "node2"])
    for index in facts.hosts.indices {
      facts.hosts[index].parameters["mpi_yield_when_idle"] = "true"
    }
    let finding = try onlyFinding(facts)
    #expect(!finding.sentence.contains("keeps"))
    // Bound evenly, none is worse off than it must be.
    for index in facts.ranks.indices { facts.ranks[index].cpus = [index % 4] }
    #expect(try onlyFinding(facts).topic == .cores)
  }

  @Test func moreThreadsThanCores() throws {
    var facts = job()
    facts.threads = 2
    for index in facts.ranks.indices { facts.ranks[index].cpus = [0, 1, 2, 3] }
    try expect(
      facts, .warning, .cores, "4 ranks of 2 threads run on 4 cores", remedy: "fewer ranks")
  }

  /// Two threads of a core are one core.
  @Test func hardwareThreadsAreNoCores() throws {
    var facts = job(ranksPerHost: 8)
    facts.hosts[0].cores = (0..<4).map { [$0, $0 + 4] }
    for index in facts.ranks.indices { facts.ranks[index].cpus = Array(0..<8) }
    try expect(
      facts, .warning, .cores, "8 ranks run on 4 cores (8 hardware threads", remedy: "fewer ranks")
    facts.ranks = Array(facts.ranks.prefix(4))
    for index in facts.ranks.indices { facts.ranks[index].cpus = [index, index + 4] }
    #expect(findings(from: facts).allSatisfy { $0.severity == .ok })
    // Cores 0 and 4 are the same one.
    facts.ranks[1].cpus = [4]
    facts.ranks[0].cpus = [0, 4]
    try expect(
      facts, .problem, .binding, "2 ranks are bound to the same core (0,4)", remedy: "PE=1")
  }

  @Test func unboundThoughThereIsRoom() throws {
    var facts = job()
    for index in facts.ranks.indices { facts.ranks[index].cpus = [0, 1, 2, 3] }
    try expect(
      facts, .note, .binding, "The ranks are not bound to a core each",
      remedy: "--map-by slot:PE=1")
    // A batch system's part of a host is used as a whole.
    facts.hosts[0].cores = (0..<8).map { [$0] }
    #expect(findings(from: facts).allSatisfy { $0.severity == .ok })
  }

  @Test func coresWithNothingToDo() throws {
    var facts = job(ranksPerHost: 1)
    facts.ranks[0].cpus = [0, 1, 2, 3]
    try expect(
      facts, .note, .cores, "1 rank runs on 4 cores; 3 cores have nothing to do",
      remedy: "--threads")
    facts.threads = 4
    #expect(findings(from: facts).allSatisfy { $0.severity == .ok })
  }

  @Test func lessProcessorTimeThanCores() throws {
    var facts = job()
    facts.hosts[0].coreQuota = 1.5
    try expect(
      facts, .warning, .cores, "the time of 1.50 cores", remedy: "docker run --cpus")
    facts.hosts[0].coreQuota = 4
    #expect(findings(from: facts).allSatisfy { $0.severity == .ok })
  }

  @Test func hostsOfOneMachineShareItsCores() throws {
    var facts = job(hosts: 2)
    facts.hosts[1].bootIdentifier = facts.hosts[0].bootIdentifier
    for index in facts.ranks.indices { facts.ranks[index].cpus = [0, 1, 2, 3] }
    let bad = findings(from: facts).filter { $0.severity != .ok }
    try #require(bad.map(\.severity) == [.warning, .note])
    #expect(bad[0].sentence.contains("8 ranks run on 4 cores"))
    #expect(bad[1].sentence.contains("one machine"))
    #expect(bad.allSatisfy { $0.hosts == ["node1", "node2"] })
  }

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
      facts, .problem, .versions, "0.1.0 x86-64-v3 on node1; 0.0.9 x86-64-v3 on node2",
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

  @Test func aBuildForLessThanTheProcessor() throws {
    var facts = job(hosts: 2)
    for index in facts.hosts.indices { facts.hosts[index].instructionSet = "x86-64-v4" }
    try expect(
      facts, .note, .processor, "AVX-512", remedy: "Nearly twice as fast",
      hosts: ["node1", "node2"])
    facts.hosts[0].instructionSet = "x86-64-v3"
    try expect(
      facts, .note, .processor, "AVX-512", remedy: "Nothing while hosts without it",
      hosts: ["node2"])
    facts.hosts[0].instructionSet = "x86-64-v4"
    for index in facts.ranks.indices { facts.ranks[index].instructionSet = "x86-64-v4" }
    #expect(findings(from: facts).allSatisfy { $0.severity == .ok })
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
