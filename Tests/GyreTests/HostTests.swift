import Foundation
import TestSupport
import Testing
import gyre

/// What a process may use of its host.
@Suite("Cores and memory of a host")
struct HostTests {
  // MARK: Control groups

  @Test(
    "a control group's limits are the tightest up to its root",
    arguments: [
      (
        "0::/batch/job\n", "",
        [
          "/sys/fs/cgroup/batch/job/cpu.max": "max 100000\n",
          "/sys/fs/cgroup/batch/cpu.max": "150000 100000\n",
          "/sys/fs/cgroup/cpu.max": "300000 100000\n",
          "/sys/fs/cgroup/batch/memory.max": "2147483648\n",
          "/sys/fs/cgroup/batch/job/memory.max": "max\n",
          "/sys/fs/cgroup/memory.max": "1073741824\n",
        ], 1.5, 1 << 30
      ),
      (
        "4:memory:/a/b\n2:cpu,cpuacct:/a\n0::/\n", "",
        [
          "/sys/fs/cgroup/cpu/a/cpu.cfs_quota_us": "250000\n",
          "/sys/fs/cgroup/cpu/a/cpu.cfs_period_us": "100000\n",
          "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
          "/sys/fs/cgroup/memory/memory.limit_in_bytes": "8192\n",
          "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
          "/sys/fs/cgroup/memory/a/b/memory.limit_in_bytes": "9223372036854771712\n",
          "/sys/fs/cgroup/memory/a/memory.limit_in_bytes": "4096\n",
        ], 2.5, 4096
      ),
      // A container is told the host's path and sees only its own group.
      (
        "4:memory:/docker/abc\n2:cpu,cpuacct:/docker/abc\n",
        """
        10 9 0:2 /docker/abc /sys/fs/cgroup/cpu,cpuacct ro,nosuid - cgroup cgroup rw,cpu,cpuacct
        11 9 0:3 /docker/abc /cg/mem ro,nosuid master:1 - cgroup cgroup rw,memory

        """,
        [
          "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "50000\n",
          "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
          "/cg/mem/memory.limit_in_bytes": "123\n",
        ], 0.5, 123
      ),
      // Version 2 beside version 1, and a limit that stalls instead of killing.
      (
        "3:cpuset:/\n0::/job\n",
        "38 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n",
        [
          "/sys/fs/cgroup/unified/job/cpu.max": "200000 100000\n",
          "/sys/fs/cgroup/unified/job/memory.max": "9000\n",
          "/sys/fs/cgroup/unified/job/memory.high": "8000\n",
        ], 2, 8000
      ),
      // Outside of the namespace that is seen.
      ("0::/../other\n", "", ["/sys/fs/cgroup/memory.max": "5000\n"], nil, 5000),
      ("0::/\n", "", [:], nil, nil),
    ] as [(String, String, [String: String], Double?, Int?)])
  func controlGroups(
    membership: String, mounts: String, files: [String: String], cores: Double?, memory: Int?
  ) {
    let group = ControlGroup {
      $0 == "/proc/self/cgroup"
        ? membership : $0 == "/proc/self/mountinfo" ? mounts : files[$0] ?? ""
    }
    #expect(group.cores == cores)
    #expect(group.memoryBytes == memory)
  }

  // MARK: Cores

  /// A machine of two hardware threads a core.
  private func grant(cpus: String, quota: String = "max", cores: Int = 4) -> ProcessorGrant {
    ProcessorGrant { path in
      switch path {
      case "/proc/self/status": "Cpus_allowed:\tff\nCpus_allowed_list:\t\(cpus)\n"
      case "/proc/self/cgroup": "0::/\n"
      case "/sys/fs/cgroup/cpu.max": "\(quota) 100000\n"
      case "/sys/devices/system/cpu/online": "0-\(2 * cores - 1)\n"
      default:
        (0..<2 * cores).first {
          path == "/sys/devices/system/cpu/cpu\($0)/topology/thread_siblings_list"
        }.map { "\($0 % cores),\($0 % cores + cores)\n" } ?? ""
      }
    }
  }

  @Test("cores are those of the process: its binding, the machine's threads, the group's time")
  func cores() {
    #expect(grant(cpus: "0-7").coreCount == 4)
    #expect(grant(cpus: "0,4").coreCount == 1 && grant(cpus: "0,4").cpus == [0, 4])
    #expect(grant(cpus: "5").cores == [1])
    // Processors that the machine could have and has not.
    #expect(grant(cpus: "0-127").cpus == Array(0...7))
    #expect(grant(cpus: "0-7", quota: "150000").coreCount == 2)
    #expect(grant(cpus: "0-7", quota: "20000").coreCount == 1)
    #expect(grant(cpus: "0", quota: "900000").coreCount == 1)
    #expect(ProcessorGrant { _ in "" }.cpus.isEmpty)
  }

  private func job(_ ranks: [(host: String, cpus: String)], quota: String = "max") -> JobCores {
    JobCores(
      ranks.map {
        RankPlace(host: $0.host, machine: "m", grant: grant(cpus: $0.cpus, quota: quota))
      })
  }

  @Test("more threads than cores are seen wherever the ranks are bound")
  func oversubscription() {
    #expect(!job([("a", "0"), ("a", "1")]).isOversubscribed(threads: 1))
    #expect(job([("a", "0"), ("a", "1")]).isOversubscribed(threads: 2))
    // Two hardware threads of one core.
    #expect(job([("a", "0"), ("a", "4")]).isOversubscribed(threads: 1))
    // On the same core, though others are free.
    #expect(job([("a", "0"), ("a", "0"), ("a", "0-7")]).isOversubscribed(threads: 1))
    #expect(!job([("a", "0-7"), ("a", "0-7")]).isOversubscribed(threads: 2))
    #expect(job([("a", "0-7"), ("a", "0-7")]).isOversubscribed(threads: 3))
    // Emulated hosts share the cores of one machine.
    #expect(job([("a", "0-1"), ("b", "0-1")]).isOversubscribed(threads: 2))
    #expect(!job([("a", "0-1"), ("b", "2-3")]).isOversubscribed(threads: 2))
    // Time for one and a half.
    #expect(job([("a", "0-7"), ("a", "0-7")], quota: "150000").isOversubscribed(threads: 1))
  }

  @Test("a benchmark under taskset notes the cores that it is given")
  func taskset() async throws {
    let result = try await Command.run(
      "taskset",
      arguments: [
        "-c", "0", BuiltProducts.executable("gyre"), "bench", "kernel", "--tokens", "64",
        "--repeats", "1", "--threads", "2", "--format", "json",
      ], timeoutSeconds: 60)
    try #require(result.isSuccess, "\(result)")
    let environment = try environment(result)
    #expect(environment["cores"] as? Int == 1 && environment["oversubscribed"] as? Bool == true)
    let hosts = try #require(environment["hosts"] as? [[String: Any]])
    #expect(hosts.map { $0["coresOfRanks"] as? [Int] } == [[1]])
  }

  @Test("ranks that are bound to a core have one", .enabled(if: ProcessorGrant.count > 1))
  func bound() async throws {
    let root = geteuid() == 0 ? ["--allow-run-as-root"] : []
    let result = try await Command.run(
      "mpirun",
      arguments: root + [
        "-n", "2", "--bind-to", "core", BuiltProducts.executable("gyre"), "bench", "weak",
        "--tokens", "64", "--heads", "1", "--repeats", "1", "--format", "json",
      ], timeoutSeconds: 60)
    try #require(result.isSuccess, "\(result)")
    let environment = try environment(result)
    let hosts = try #require(environment["hosts"] as? [[String: Any]])
    #expect(hosts.map { $0["coresOfRanks"] as? [Int] } == [[1, 1]])
    #expect(environment["cores"] as? Int == 2 && environment["oversubscribed"] as? Bool == false)
  }

  private func environment(_ result: CommandResult) throws -> [String: Any] {
    let object = try JSONSerialization.jsonObject(with: Data(result.standardOutput.utf8))
    return try #require((object as? [String: Any])?["environment"] as? [String: Any])
  }

  // MARK: Memory

  @Test("what is more than the control group grants is refused, with both numbers")
  func memory() {
    let memory = HostMemory(physicalBytes: 16 << 30, limitBytes: 2 << 30)
    #expect(memory.usableBytes == 2 << 30)
    #expect(memory.complaint(Double(2 << 30), for: "2 ranks", remedy: "use less") == nil)
    #expect(
      memory.complaint(Double(3 << 30), for: "2 ranks", remedy: "use less")
        == "2 ranks need 3.00 GiB of memory on this host and its container or batch system grants "
        + "2.00 GiB of 16.0 GiB; use less.")
    let free = HostMemory(physicalBytes: 16 << 30, limitBytes: 64 << 30)
    #expect(free.limitBytes == nil && free.usableBytes == 16 << 30)
    #expect(
      free.complaint(Double(17 << 30), for: "2 ranks", remedy: "use less")
        == "2 ranks need 17.0 GiB of memory on this host and it has 16.0 GiB; use less.")
  }

  @Test(
    "every command that reckons with memory knows the limit of its control group",
    .enabled(if: MemoryGroup.canBeMade, "control groups cannot be made here"),
    arguments: [
      ["attend", "--random", "1x262144x8x8x64"],
      ["stream", "--random", "1x4194304x8x8x64", "--dilated", "2048:1", "--window", "1048576"],
      ["bench", "strong", "--tokens", "262144"],
    ])
  func limited(arguments: [String]) async throws {
    let group = try MemoryGroup(bytes: 256 << 20)
    defer { group.remove() }
    let result = try await Command.run(
      "sh",
      arguments: ["-c", "echo $$ >\"$0\"; exec \"$@\"", group.processes]
        + [BuiltProducts.executable("gyre")] + arguments, timeoutSeconds: 60)
    #expect(result.ending == .exited(64), "\(result)")
    #expect(result.standardError.contains(" grants 256 MiB of "), "\(result)")
  }
}

extension ProcessorGrant {
  /// How many cores the tests have.
  static var count: Int {
    ProcessorGrant { (try? String(contentsOfFile: $0, encoding: .utf8)) ?? "" }.coreCount
  }
}

/// A control group with little memory, in either version.
private final class MemoryGroup {
  private let folder: String

  private static let roots = [
    ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max"),
  ]

  /// A folder with the file that sets the limit.
  private static func make(_ name: String) -> (folder: String, file: String)? {
    for (root, file) in roots {
      let folder = "\(root)/\(name)"
      guard unsafe mkdir(folder, 0o755) == 0 else { continue }
      if unsafe access("\(folder)/\(file)", W_OK) == 0 { return (folder, "\(folder)/\(file)") }
      unsafe rmdir(folder)
    }
    return nil
  }

  static let canBeMade: Bool = {
    guard let made = make("gyre-try-\(getpid())") else { return false }
    unsafe rmdir(made.folder)
    return true
  }()

  init(bytes: Int) throws {
    let made = try #require(Self.make("gyre-tests-\(getpid())-\(UInt32.random(in: 0 ... .max))"))
    folder = made.folder
    try "\(bytes)".write(toFile: made.file, atomically: false, encoding: .utf8)
  }

  /// Takes it away; the kernel needs a moment after the end of a process that was in it.
  func remove() {
    for _ in 0..<100 {
      if unsafe rmdir(folder) == 0 { return }
      usleep(10_000)
    }
  }

  var processes: String { folder + "/cgroup.procs" }
}
