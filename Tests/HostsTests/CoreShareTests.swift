import Hosts
import Testing

/// How ranks divide the cores of their machines.
@Suite("Threads where nobody says")
struct CoreShareTests {
  /// A rank that may run on some hardware threads of a machine of 16 cores, with one or two each.
  private func rank(
    _ cpus: String, host: String = "a", machine: String = "m", group: [String: String] = [:],
    threadsPerCore: Int = 1
  ) -> RankPlace {
    let files = group.merging(["/proc/self/cgroup": "2:cpu:/\n0::/\n"]) { $1 }
    let grant = ProcessorGrant { path in
      switch path {
      case "/proc/self/status": "Cpus_allowed_list:\t\(cpus)\n"
      case "/sys/devices/system/cpu/online": "0-\(16 * threadsPerCore - 1)\n"
      default:
        files[path]
          ?? (0..<16 * threadsPerCore).first {
            path == "/sys/devices/system/cpu/cpu\($0)/topology/thread_siblings_list"
          }.map { cpu in
            (0..<threadsPerCore).map { "\(cpu % 16 + 16 * $0)" }.joined(separator: ",") + "\n"
          } ?? ""
      }
    }
    return RankPlace(host: host, machine: machine, grant: grant)
  }

  private func shares(_ cpus: [String]) -> [Int] { cpus.map { rank($0) }.threadShares }

  @Test("ranks that are bound apart have all of theirs, ranks that share divide")
  func bindings() {
    #expect(shares(["0-15"]) == [16])
    #expect(shares(["0-7", "8-15"]) == [8, 8])
    #expect(shares(["0", "1-3", "4"]) == [1, 3, 1])
    #expect(shares(["0-15", "0-15"]) == [8, 8])
    // What is left over goes to the first.
    #expect(shares(["0-15", "0-15", "0-15"]) == [6, 5, 5])
    #expect(shares([String](repeating: "0-15", count: 5)) == [4, 3, 3, 3, 3])
    // Two on each node of memory, as mpirun puts them there in turn.
    #expect(shares(["0-7", "8-15", "0-7", "8-15"]) == [4, 4, 4, 4])
    #expect(shares(["0-7", "8-15", "0-7"]) == [4, 8, 4])
  }

  @Test("who can have others' leftovers alone gets them, and who has few choices comes first")
  func overlaps() {
    #expect(shares(["0-15", "0-3"]) == [12, 4])
    #expect(shares(["0-3", "0-15"]) == [4, 12])
    #expect(shares(["0-1", "1-2", "2-3"]) == [2, 1, 1])
    // Rank 0 has to move twice: from 0 to 1, and the next from 1 to 2.
    #expect(shares(["0-1", "1-2", "0"]) == [1, 1, 1])
    #expect(shares(["0-1", "1-3", "0"]) == [1, 2, 1])
  }

  @Test("more ranks than cores have a thread each", arguments: [17, 40])
  func oversubscription(ranks: Int) {
    #expect(
      shares([String](repeating: "0-15", count: ranks)) == [Int](repeating: 1, count: ranks))
    #expect(shares(["3", "3", "3"]) == [1, 1, 1])
    #expect(shares(["3", "3", "2-5"]) == [1, 1, 3])
  }

  @Test("two hardware threads of a core are one core")
  func hardwareThreads() {
    let cpus = ["0-31", "0-31", "0-31"].map { rank($0, threadsPerCore: 2) }
    #expect(cpus.threadShares == [6, 5, 5])
    // Each has one of the two of core 0.
    #expect(
      [rank("0", threadsPerCore: 2), rank("16-17", threadsPerCore: 2)].threadShares == [1, 1])
    #expect([rank("0-7,16-23", threadsPerCore: 2)].threadShares == [8])
  }

  @Test("a control group's time is divided too, in either version", arguments: [1, 2])
  func quotas(version: Int) {
    func group(_ hundredths: Int) -> [String: String] {
      version == 2
        ? ["/sys/fs/cgroup/cpu.max": "\(hundredths)000 100000\n"]
        : [
          "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "\(hundredths)000\n",
          "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        ]
    }
    func shares(_ hundredths: Int, _ ranks: Int) -> [Int] {
      [RankPlace](repeating: rank("0-15", group: group(hundredths)), count: ranks).threadShares
    }
    #expect(shares(400, 1) == [4])
    #expect(shares(400, 3) == [2, 1, 1])
    // Half a core more is worth a thread; less than one is one.
    #expect(shares(150, 1) == [2])
    #expect(shares(20, 1) == [1])
    #expect(shares(200, 4) == [1, 1, 1, 1])
    #expect(shares(9999, 2) == [8, 8])
    // Pods of one machine have time of their own.
    #expect(
      [rank("0-15", host: "a", group: group(400)), rank("0-15", host: "b", group: group(200))]
        .threadShares == [4, 2])
  }

  @Test("hosts of one machine share its cores, machines share nothing")
  func machines() {
    #expect([rank("0-15", host: "a"), rank("0-15", host: "b")].threadShares == [8, 8])
    #expect(
      [rank("0-15", machine: "m"), rank("0-3", machine: "n"), rank("0-15", machine: "m")]
        .threadShares == [8, 4, 8])
    #expect([RankPlace]().threadShares == [])
  }

  /// Of all ways to give cores away none leaves a rank with fewer than this one does: sorted shares
  /// are the largest that there are.
  @Test("no other division is fairer", arguments: 0..<60)
  func fairest(seed: Int) {
    var state = UInt64(seed) &* 0x9E37_79B9_7F4A_7C15 &+ 1
    func random(_ bound: Int) -> Int {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int(state >> 33) % bound
    }
    let ranks = 1 + random(4)
    let cores = 1 + random(6)
    let masks = (0..<ranks).map { _ in
      let mask = (0..<cores).filter { _ in random(2) == 0 }
      return mask.isEmpty ? [random(cores)] : mask
    }
    let found = shares(masks.map { $0.map(String.init).joined(separator: ",") })
    var best: [Int] = []
    for way in 0..<(0..<cores).reduce(1, { product, _ in product * ranks }) {
      var given = [Int](repeating: 0, count: ranks)
      var rest = way
      for core in 0..<cores {
        if masks[rest % ranks].contains(core) { given[rest % ranks] += 1 }
        rest /= ranks
      }
      given.sort()
      if best.lexicographicallyPrecedes(given) { best = given }
    }
    #expect(found.sorted() == best.map { max(1, $0) }.sorted(), "\(masks): \(found)")
  }

  @Test("nodes of memory are those that have cores")
  func memoryNodes() {
    let files = [
      "/sys/devices/system/node/online": "0-2\n", "/sys/devices/system/node/node0/cpulist": "0-3\n",
      "/sys/devices/system/node/node1/cpulist": "\n",
      "/sys/devices/system/node/node2/cpulist": "4-5,8\n",
    ]
    #expect(MemoryNodes.cpus { files[$0] ?? "" } == [[0, 1, 2, 3], [4, 5, 8]])
    #expect(MemoryNodes.cpus { _ in "" }.isEmpty)
  }
}
