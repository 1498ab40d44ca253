import Doctor
import Hosts
import MPI
import Testing

/// What the doctor makes of facts that this machine does not have.
@Suite("What gyre doctor finds")
struct DoctorFindingsTests {
  /// A job as it should be: hosts of 4 cores, a rank bound to each, one network.
  func job(hosts: Int = 1, ranksPerHost: Int = 4) -> JobFacts {
    let hostFacts = (0..<hosts).map { index in
      var host = HostFacts()
      host.name = "node\(index + 1)"
      host.bootIdentifier = "boot \(index)"
      host.processor = "A processor"
      host.instructionSet = "avx2"
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
      rank.instructionSet = "avx2"
      rank.executable = "0123456789abcdef"
      rank.library = "Open MPI v4.1.4, package: Debian OpenMPI, ident: 4.1.4"
      rank.compiledLibrary = "4.1.4"
      rank.readsNextRanksMemory = ranksPerHost > 1 ? true : nil
      rank.openFilesLimit = 1024
      return rank
    }
    return JobFacts(hosts: hostFacts, ranks: ranks)
  }

  private func give(_ facts: inout JobFacts, threads: Int) {
    for index in facts.ranks.indices { facts.ranks[index].threads = threads }
  }

  /// The only finding that is not good.
  func onlyFinding(
    _ facts: JobFacts, sourceLocation: SourceLocation = #_sourceLocation
  ) throws -> Finding {
    let bad = findings(from: facts).filter { $0.severity != .ok }
    try #require(bad.count == 1, "\(bad)", sourceLocation: sourceLocation)
    return bad[0]
  }

  func expect(
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
    give(&facts, threads: 2)
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
    give(&facts, threads: 2)
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
    give(&facts, threads: 4)
    #expect(findings(from: facts).allSatisfy { $0.severity == .ok })
  }

  /// mpirun's own choice for one or two ranks.
  @Test func ranksBoundToOneCoreEachOfMany() throws {
    var facts = job(ranksPerHost: 2)
    for index in facts.ranks.indices { facts.ranks[index].launcherCpus = [0, 1, 2, 3] }
    try expect(
      facts, .warning, .binding, "2 ranks run on 2 cores, which they are bound to",
      "2 cores more that this job has are idle", remedy: "--map-by slot --bind-to numa")
    // A batch system has bound mpirun as well.
    for index in facts.ranks.indices { facts.ranks[index].launcherCpus = [0, 1] }
    #expect(findings(from: facts).allSatisfy { $0.severity == .ok })
  }

  @Test func unequalThreadsAreCountedOneByOne() throws {
    var facts = job(ranksPerHost: 3)
    for index in facts.ranks.indices { facts.ranks[index].cpus = [0, 1, 2, 3] }
    facts.ranks[0].threads = 3
    try expect(
      facts, .warning, .cores, "3 ranks of 1 to 3 threads run on 4 cores", remedy: "fewer ranks")
    facts.ranks[0].threads = 2
    try expect(
      facts, .note, .binding, "The ranks are not bound to 2 cores each", remedy: "slot:PE=2")
  }

  /// One rank for each node of memory is fastest.
  @Test func anotherSplitWouldBeFaster() throws {
    var facts = job()
    facts.hosts[0].memoryNodes = [[0, 1, 2, 3]]
    try expect(
      facts, .note, .cores, "4 ranks share a node of the machine's memory",
      remedy: "--bind-to numa -n 1 ")
    facts.hosts[0].memoryNodes = [[0, 1], [2, 3]]
    try expect(
      facts, .note, .cores, "4 ranks share 2 nodes of the machine's memory",
      remedy: "--bind-to numa -n 2 ")
    facts = job(ranksPerHost: 1)
    facts.hosts[0].memoryNodes = [[0, 1], [2, 3]]
    facts.ranks[0].cpus = [0, 1, 2, 3]
    give(&facts, threads: 4)
    try expect(
      facts, .note, .cores, "4 threads of a rank are on 2 nodes", remedy: "--bind-to numa -n 2 ",
      ranks: [0])
    facts.hosts[0].memoryNodes = [[0, 1, 2, 3]]
    #expect(findings(from: facts).allSatisfy { $0.severity == .ok })
    facts = job(hosts: 2, ranksPerHost: 2)
    for index in facts.hosts.indices { facts.hosts[index].memoryNodes = [[0, 1], [2, 3]] }
    for index in facts.ranks.indices {
      facts.ranks[index].cpus = index % 2 == 0 ? [0, 1] : [2, 3]
    }
    give(&facts, threads: 2)
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
}
