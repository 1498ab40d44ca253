import Foundation
import Hosts
import TestSupport
import Testing

/// What a process may use of its host.
@Suite("Cores and memory of a host")
struct HostTests {
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
