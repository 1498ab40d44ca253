import Foundation
import TestSupport
import Testing

/// The doctor on real jobs; what it makes of other facts is in `DoctorFindingsTests`.
@Suite("gyre doctor")
struct DoctorTests {
  private struct Report: Decodable {
    struct Host: Decodable {
      let name: String
      let cores: [[Int]]
      let components: [String: [String]]
      let parameters: [String: String]
    }
    struct Rank: Decodable {
      let rank: Int
      let host: Int
      let cpus: [Int]
      let threads: Int
      let executable: String
      let readsNextRanksMemory: Bool?
    }
    struct Finding: Decodable {
      let severity: String
      let topic: String
      let sentence: String
      let remedy: String?
      let ranks: [Int]
    }
    struct Mpirun: Decodable {
      let version: String?
      let slots: [[String: Slot]]?
      enum Slot: Decodable {
        case name(String)
        case count(Int)
        init(from decoder: any Decoder) throws {
          let container = try decoder.singleValueContainer()
          if let count = try? container.decode(Int.self) {
            self = .count(count)
          } else {
            self = .name(try container.decode(String.self))
          }
        }
      }
    }
    let hosts: [Host]
    let perRank: [Rank]
    let findings: [Finding]
    let mpirun: Mpirun?

    func finding(_ topic: String) -> Finding? { findings.first { $0.topic == topic } }

    init(_ result: CommandResult) throws {
      self = try JSONDecoder().decode(Report.self, from: Data(result.standardOutput.utf8))
    }
  }

  private func doctor(
    _ arguments: [String] = [], ranks: Int, wrapper: [String] = [],
    environment: [String: String] = [:]
  ) async throws -> CommandResult {
    try await MPIJob.run(
      program: "gyre", arguments: ["doctor"] + arguments, ranks: ranks, environment: environment,
      wrapper: wrapper)
  }

  private static let cores = ProcessInfo.processInfo.activeProcessorCount

  @Test("every rank is there, and what they say is true", arguments: [1, 2, 3, 8])
  func facts(ranks: Int) async throws {
    let result = try await doctor(["--report", "json"], ranks: ranks)
    try #require(result.isSuccess, "\(result)")
    let report = try Report(result)
    #expect(report.hosts.count == 1)
    #expect(report.hosts[0].name == ProcessInfo.processInfo.hostName)
    #expect(report.hosts[0].cores.joined().count >= Self.cores)
    #expect(report.hosts[0].components["pml"] == ["ob1"])
    #expect(report.hosts[0].parameters["btl_tcp_flags"] == "1")
    #expect(report.perRank.map(\.rank) == Array(0..<ranks))
    #expect(report.perRank.allSatisfy { $0.host == 0 && $0.cpus.count == Self.cores })
    // Without --threads the ranks divide the cores, and the first have what is left over.
    #expect(
      report.perRank.map(\.threads)
        == (0..<ranks).map {
          max(1, Self.cores / ranks + ($0 < Self.cores % ranks ? 1 : 0))
        })
    #expect(Set(report.perRank.map(\.executable)).count == 1)
    #expect(report.perRank[0].executable.count == 16)
    #expect(report.perRank.allSatisfy { $0.readsNextRanksMemory == (ranks > 1 ? true : nil) })
    #expect(report.finding("versions")?.severity == "ok")
    let cores = try #require(report.finding("cores"))
    #expect((cores.severity == "warning") == (ranks > Self.cores), "\(cores)")
    if ranks > Self.cores { #expect(cores.sentence.contains("\(ranks) ranks run on")) }
  }

  @Test("threads count as ranks do")
  func threads() async throws {
    let result = try await doctor(
      ["--report", "json", "--threads", "\(Self.cores + 1)"], ranks: 1)
    let cores = try #require(try Report(result).finding("cores"))
    #expect(cores.severity == "warning", "\(cores)")
    #expect(cores.sentence.contains("1 rank of \(Self.cores + 1) threads runs on"))
  }

  /// Runs a command in a control group that grants the time of one core, and removes the group.
  private static let oneCoresTime = [
    "sh", "-c",
    """
    for root in /sys/fs/cgroup/cpu /sys/fs/cgroup; do
      group=$root/gyre-tests-$$
      mkdir $group 2>/dev/null || continue
      if { echo 100000 >$group/cpu.cfs_quota_us || echo 100000 100000 >$group/cpu.max; } \
        && echo $$ >$group/cgroup.procs; then
        "$0" "$@"; code=$?
        echo $$ >$root/cgroup.procs; rmdir $group; exit $code
      fi 2>/dev/null
      rmdir $group
    done
    exit 99
    """,
  ]

  private static func canLimitTime() async throws -> Bool {
    try await Command.run(
      oneCoresTime[0], arguments: Array(oneCoresTime.dropFirst()) + ["true"], timeoutSeconds: 10
    ).isSuccess
  }

  @Test(
    "a control group's time is divided as cores are",
    .enabled(if: cores > 1), .enabled { try await canLimitTime() })
  func limitedTime() async throws {
    let result = try await doctor(
      ["--report", "json"], ranks: 1, wrapper: Self.oneCoresTime)
    let report = try Report(result)
    #expect(report.perRank.map(\.cpus.count) == [Self.cores])
    #expect(report.perRank.map(\.threads) == [1], "\(result)")
  }

  @Test(
    "ranks on the same core are a problem, and the job's exit code says so",
    .enabled(if: cores > 1))
  func sameCore() async throws {
    let result = try await doctor(
      ["--report", "json"], ranks: 2, wrapper: ["taskset", "--cpu-list", "0"])
    #expect(result.ending == .exited(1), "\(result)")
    let report = try Report(result)
    #expect(report.perRank.map(\.cpus) == [[0], [0]])
    let binding = try #require(report.finding("binding"))
    #expect(binding.severity == "problem")
    #expect(binding.ranks == [0, 1])
    #expect(binding.remedy?.contains("--map-by slot:PE=1") ?? false)
    // Worst first.
    #expect(report.findings[0].topic == "binding")
  }

  /// Mounts a /dev/shm of its own over the common one, where this user may.
  private static let smallRoom = [
    "unshare", "--map-root-user", "--mount", "sh", "-c",
    "mount -t tmpfs -o size=16m tmpfs /dev/shm && exec \"$0\" \"$@\"",
  ]

  private static func canMount() async throws -> Bool {
    try await Command.run(
      smallRoom[0], arguments: Array(smallRoom.dropFirst()) + ["true"], timeoutSeconds: 10
    ).isSuccess
  }

  @Test("a small /dev/shm is found", .enabled { try await canMount() })
  func smallSharedMemory() async throws {
    let environment = [
      // In its own namespace every user is root.
      "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    ]
    let result = try await doctor(
      ["--report", "json"], ranks: 2, wrapper: Self.smallRoom, environment: environment)
    let finding = try #require(try Report(result).finding("sharedMemory"), "\(result)")
    #expect(finding.severity == "warning", "\(finding)")
    #expect(finding.sentence.contains("of 16.0 MiB for 2 ranks"), "\(finding)")
  }

  @Test("what mpirun was told shows")
  func toldOtherwise() async throws {
    let result = try await doctor(
      ["--report", "json"], ranks: 2,
      environment: [
        "OMPI_MCA_btl_vader_single_copy_mechanism": "none", "OMPI_MCA_mpi_yield_when_idle": "1",
      ])
    let report = try Report(result)
    #expect(report.hosts[0].parameters["mpi_yield_when_idle"] == "true")
    let finding = try #require(report.finding("singleCopy"))
    #expect(finding.severity == "note" && finding.sentence.contains("none"), "\(finding)")
  }

  @Test("the text names what is wrong, and below it what to do")
  func text() async throws {
    let result = try await doctor(ranks: 2 * Self.cores)
    #expect(result.isSuccess, "\(result)")
    let lines = result.standardOutput.split(separator: "\n")
    #expect(lines.first == "\(2 * Self.cores) ranks of 1 thread on 1 host.")
    let warning = try #require(lines.firstIndex { $0.hasPrefix("warning: ") }, "\(result)")
    #expect(lines[warning].contains("\(2 * Self.cores) ranks run on"))
    let remedy = try #require(lines[warning...].firstIndex { $0.hasPrefix("  → ") })
    #expect(remedy > warning)
    #expect(lines.contains { $0.hasPrefix("ranks") && $0.contains(" threads ") })
    #expect(lines.contains { $0.hasPrefix("Fine: ") })
    #expect(lines.allSatisfy { $0.count <= 96 }, "\(result)")
  }

  // MARK: Alone

  private func alone(
    _ arguments: [String] = ["--report", "json"], environment: [String: String] = [:]
  ) async throws -> CommandResult {
    try await MPIJob.runAlone(
      program: "gyre", arguments: ["doctor"] + arguments, environment: environment)
  }

  @Test("alone it looks at mpirun instead of a job")
  func aloneOnThisHost() async throws {
    let result = try await alone(
      environment: ["OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"])
    #expect(result.isSuccess, "\(result)")
    let report = try Report(result)
    #expect(report.mpirun?.version?.contains("Open MPI") ?? false)
    #expect(report.mpirun?.slots?.count == 1)
    #expect(report.finding("mpirun")?.severity == "ok")
    #expect(report.finding("user") == nil)
  }

  @Test(
    "an mpirun that is none, or not the library's, is told without starting MPI",
    arguments: [
      (nil, "no mpirun on PATH", 1), ("HYDRA build details:", "not Open MPI's", 1),
      ("mpirun (Open MPI) 3.1.0", "mpirun is Open MPI 3.1.0", 1),
    ] as [(String?, String, Int)])
  func otherMpiruns(version: String?, sentence: String, code: Int) async throws {
    let folder = try TemporaryFolder()
    if let version {
      let path = try folder.file("mpirun", Array("#!/bin/sh\necho '\(version)'\n".utf8))
      try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: path)
      // The doctor bounds its patience with this.
      try FileManager.default.createSymbolicLink(
        atPath: folder.path + "/timeout", withDestinationPath: "/usr/bin/timeout")
    }
    let result = try await Command.run(
      "/usr/bin/env",
      arguments: [
        "PATH=\(folder.path)", BuiltProducts.executable("gyre"), "doctor", "--report", "json",
      ], timeoutSeconds: 30)
    #expect(result.ending == .exited(code), "\(result)")
    let finding = try #require(try Report(result).finding("mpirun"))
    #expect(finding.sentence.contains(sentence), "\(finding)")
  }

  @Test("mistakes are refused", arguments: [["--threads", "0"], ["--report", "xml"]])
  func mistakes(arguments: [String]) async throws {
    let result = try await alone(arguments)
    #expect(result.ending == .exited(64), "\(result)")
    #expect(result.standardError.contains(arguments[0]))
  }
}
