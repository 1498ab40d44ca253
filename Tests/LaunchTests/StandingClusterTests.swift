import Foundation
import TestSupport
import Testing

/// An emulated cluster that stays up between jobs.
@Suite(
  .enabled(if: EmulatedCluster.canBeMade, "\(EmulatedCluster.reason)"), .timeLimit(.minutes(1)))
struct StandingClusterTests {
  /// The words of each host's line in the status.
  private func rows(_ outcome: Outcome) -> [[Substring]] {
    outcome.output.split(separator: "\n").map { $0.split(separator: " ") }
      .filter { $0[0].hasPrefix("node") }
  }

  @Test func itCarriesJobsUntilItIsTakenDown() throws {
    let cluster = EmulatedCluster()
    let up = try cluster("up", ["--hosts", "3", "--rate", "250mbit"])
    #expect(up.code == 0, "\(up.errors)")
    #expect(
      cluster.namespaces == ["node1", "node2", "node3", "switch"].map { "\(cluster.name)-\($0)" })
    #expect(
      rows(up).map { $0.prefix(3) } == (1...3).map { ["node\($0)", "10.77.0.\($0)", "250Mbit"] })

    // All hosts, or its first ones.
    for (arguments, hosts) in [([], 3), (["--hosts", "2"], 2)] {
      let run = try cluster("run", arguments + ["--program", "/bin/hostname"])
      #expect(
        run.output.split(separator: "\n").sorted() == (1...hosts).map { "node\($0)" },
        "\(run.errors)")
    }

    #expect(try cluster("down").code == 0)
    #expect(cluster.namespaces == [])
    #expect(try cluster("status").output == "No emulated cluster \(cluster.name) is up.\n")
  }

  @Test func whatItIsNotIsRefused() throws {
    let cluster = EmulatedCluster()
    _ = try cluster("up", ["--hosts", "2"])
    for arguments in [["--hosts", "3"], ["--rate", "1gbit"]] {
      let outcome = try cluster("run", arguments + ["--program", "/bin/hostname"])
      #expect(outcome.code == 64)
      #expect(outcome.output == "")
      #expect(outcome.errors.contains("up \(arguments[0])"), "\(outcome.errors)")
    }
  }

  @Test func upBringsAnIdleOneToTheAskedState() throws {
    let cluster = EmulatedCluster()
    for (hosts, rate) in [(3, "1gbit"), (1, "2gbit"), (2, "1500mbit")] {
      let up = try cluster("up", ["--hosts", "\(hosts)", "--rate", rate])
      #expect(up.code == 0, "\(up.errors)")
      #expect(cluster.namespaces.count == hosts + 1)
      let shown = rate.replacing("gbit", with: "Gbit").replacing("mbit", with: "Mbit")
      #expect(rows(up).map { $0[2] } == Array(repeating: shown[...], count: hosts))
    }
  }

  /// A job's bytes alone are counted, and `status` adds them up.
  @Test func countersAreOfTheRunAlone() throws {
    let cluster = EmulatedCluster()
    let folder = try TemporaryFolder()
    let file = folder.url.appending(path: "counters.json")
    _ = try cluster("up", ["--hosts", "2"])
    var total = 0
    for _ in 0..<2 {
      let run = try cluster(
        "run",
        [
          "--counters", file.path, "--", "attend", "--random", "1x256x4x4x64", "--transport",
          "ring",
        ])
      #expect(run.code == 0, "\(run.errors)")
      let sent = try Counters(file).hosts[0].sentBytes
      let payload = 128 * 4 * 2 * 64 * 4
      #expect((payload...payload + 100_000).contains(sent))
      total += sent
    }
    let shown = try #require(Int(rows(try cluster("status"))[0][3]))
    #expect((total...total + 10_000).contains(shown))
  }

  /// `up` leaves a running job alone, and `down` ends it.
  @Test func aRunningJobEndsWithTheClusterOnly() throws {
    let cluster = EmulatedCluster()
    let folder = try TemporaryFolder()
    _ = try cluster("up", ["--hosts", "2"])
    let outcome = try Script.run(
      "/bin/bash",
      [
        "-c",
        """
        Launch/emulated-cluster run --name "$1" --program /bin/sh -- \
          -c 'touch "$0/$(hostname)"; exec sleep 40' "$2" >/dev/null 2>&1 & job=$!
        until [ -e "$2/node1" ] && [ -e "$2/node2" ]; do sleep 0.05; done
        Launch/emulated-cluster up --name "$1"; echo up $?
        Launch/emulated-cluster down --name "$1"; echo down $?
        wait $job && echo the job succeeded
        """, "bash", cluster.name, folder.path,
      ])
    #expect(outcome.output == "up 1\ndown 0\n")
    #expect(outcome.errors.contains("a job runs"), "\(outcome.errors)")
    #expect(cluster.namespaces == [])
  }
}
