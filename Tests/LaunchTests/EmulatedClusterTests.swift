import Foundation
import TestSupport
import Testing

/// Jobs across emulated hosts.
@Suite(
  .enabled(if: EmulatedCluster.canBeMade, "\(EmulatedCluster.reason)"), .timeLimit(.minutes(3)))
struct EmulatedClusterTests {
  @Test(arguments: [(2, 1), (2, 2), (4, 1), (4, 2)])
  func attentionAcrossHostsIsRight(hosts: Int, ranksPerHost: Int) throws {
    let cluster = EmulatedCluster()
    let outcome = try cluster(
      "run",
      [
        "--hosts", "\(hosts)", "--ranks-per-host", "\(ranksPerHost)", "--",
        "attend", "--random", "1x2049x4x2x64", "--causal", "--verify", "--report", "text",
      ])
    #expect(outcome.code == 0, "\(outcome.errors)")
    #expect(outcome.output.contains("passed"))
    #expect(cluster.namespaces == [])
    // The report's table: rank and host are the first two columns.
    let rows = outcome.output.split(separator: "\n").map { $0.split(separator: " ") }
    for rank in 0..<hosts * ranksPerHost {
      let row = try #require(rows.first { $0.first == "\(rank)" })
      #expect(row[1] == "node\(rank / ranksPerHost + 1)", "\(outcome.output)")
    }
  }

  /// mpirun asks the other hosts' kernels, which answer however long their ranks compute.
  @Test func aHostThatIsNotHeardIsNamed() throws {
    let cluster = EmulatedCluster()
    let up = try cluster("up", ["--hosts", "3"])
    try #require(up.code == 0, "\(up.errors)")
    let folder = try TemporaryFolder()
    let program = try folder.write(
      "#!/bin/sh\ntouch \(folder.path)/$(hostname)\nexec sleep 50\n", to: "program",
      executable: true)
    let outcome = try Script.run(
      "/bin/bash",
      [
        "-c",
        """
        PATH=$PATH:/usr/sbin:/sbin
        timeout 45 Launch/emulated-cluster run --name "$0" --program "$2" & job=$!
        for ((i = 0; i < 200; i++)); do
          if [ -e "$1/node2" ] && [ -e "$1/node3" ]; then break; fi
          sleep 0.1
        done
        ip netns exec "$0-node2" ip link set eth0 down
        wait $job
        """, cluster.name, folder.path, program.path,
      ],
      environment: [
        "OMPI_MCA_oob_tcp_keepalive_time": "2", "OMPI_MCA_oob_tcp_keepalive_intvl": "1",
        "OMPI_MCA_oob_tcp_keepalive_probes": "3",
      ])
    #expect(outcome.code != 0 && outcome.code != 124)
    #expect(outcome.errors.contains("nothing is heard of host node2"), "\(outcome.errors)")
    #expect(!outcome.errors.contains("node3"), "\(outcome.errors)")
  }

  /// A full ring sends P − 1 blocks from each rank, and only the last rank of a host sends them
  /// over its link: the others' next rank is on the same host, and reached through shared memory.
  @Test(arguments: [(2, 1), (2, 2), (4, 1), (4, 2)])
  func theLinksCarryTheRingAndLittleElse(hosts: Int, ranksPerHost: Int) throws {
    let folder = try TemporaryFolder()
    let file = folder.url.appending(path: "counters.json")
    let (tokens, heads, headDim) = (2048, 16, 64)
    let outcome = try EmulatedCluster()(
      "run",
      [
        "--hosts", "\(hosts)", "--ranks-per-host", "\(ranksPerHost)", "--counters", file.path, "--",
        "attend", "--random", "1x\(tokens)x\(heads)x\(heads)x\(headDim)", "--transport", "ring",
      ])
    #expect(outcome.code == 0, "\(outcome.errors)")

    let counters = try Counters(file)
    #expect(counters.hosts.map(\.name) == (1...hosts).map { "node\($0)" })
    let ranks = hosts * ranksPerHost
    let blockBytes = tokens / ranks * heads * 2 * headDim * 4
    let payload = (ranks - 1) * blockBytes
    // Headers and acknowledgements, what TCP sends again where a receiver is busy (up to 0.3 MB
    // in all, seen on shared cores), and the start of the job, 15 KB.
    let bounds = payload...(payload + payload * 3 / 100 + 200_000)
    for host in counters.hosts {
      #expect(bounds.contains(host.sentBytes), "\(host), \(bounds)")
      #expect(bounds.contains(host.receivedBytes), "\(host), \(bounds)")
    }
  }

  /// A ring crosses a link for every rank whose neighbour is on another host, groups of hosts once
  /// for every block of a host.
  @Test(arguments: [("slot", 7), ("node", 14)])
  func groupsOfHostsSendABlockOnceALink(mapping: String, ringHops: Int) throws {
    let folder = try TemporaryFolder()
    let (tokens, heads, headDim) = (4096, 8, 64)
    var sent: [String: Int] = [:]
    for transport in ["ring", "hierarchical"] {
      let file = folder.url.appending(path: "\(transport).json")
      let outcome = try EmulatedCluster()(
        "run",
        [
          "--hosts", "4", "--ranks-per-host", "2", "--map-by", mapping, "--counters", file.path,
          "--", "attend", "--random", "1x\(tokens)x\(heads)x\(heads)x\(headDim)", "--transport",
          transport, "--gradients", "--backward-route", "kv",
        ])
      #expect(outcome.code == 0, "\(outcome.errors)")
      sent[transport] = try Counters(file).hosts.map(\.sentBytes).max()
    }
    // Blocks forward and backward, and gradients of the same size.
    let blockBytes = tokens / 8 * heads * 2 * headDim * 4
    for (transport, hops) in [("ring", ringHops), ("hierarchical", 2 * 3)] {
      let payload = 3 * hops * blockBytes
      let bytes = try #require(sent[transport])
      #expect((payload...(payload + payload * 4 / 100 + 200_000)).contains(bytes), "\(transport)")
    }
  }

  @Test(arguments: [(1, 2), (2, 2), (3, 1)])
  func ranksShareMemoryOnlyWithThoseOfTheirHost(hosts: Int, ranksPerHost: Int) throws {
    let outcome = try EmulatedCluster()(
      "run",
      [
        "--hosts", "\(hosts)", "--ranks-per-host", "\(ranksPerHost)",
        "--program", BuiltProducts.executable("mpi-checks"), "--", "nodes",
      ])
    #expect(outcome.code == 0, "\(outcome.errors)")
    let expected = (0..<hosts * ranksPerHost).map { rank in
      let first = rank - rank % ranksPerHost
      return "\(rank) on node\(rank / ranksPerHost + 1) with \(Array(first..<first + ranksPerHost))"
    }
    #expect(outcome.output.split(separator: "\n").sorted() == expected.map { $0[...] })
  }

  /// Otherwise the ring's 8 MiB would pass the loopback interface.
  @Test func ranksOfAHostTalkThroughItsMemory() throws {
    let script = """
      "$0" attend --random 1x2048x16x16x64 --transport ring --report json >/dev/null
      [ $OMPI_COMM_WORLD_RANK != 0 ] || cat /sys/class/net/lo/statistics/tx_bytes
      """
    let outcome = try EmulatedCluster()(
      "run",
      [
        "--hosts", "1", "--ranks-per-host", "2", "--program", "/bin/sh", "--", "-c", script,
        BuiltProducts.executable("gyre"),
      ])
    #expect(outcome.code == 0, "\(outcome.errors)")
    let bytes = try #require(Int(outcome.output.trimmingCharacters(in: .whitespacesAndNewlines)))
    #expect(bytes < 100_000)
  }

  @Test func hostsKnowEachOtherByNameAndShareNoMemory() throws {
    let script = """
      touch /dev/shm/$OMPI_COMM_WORLD_RANK; sleep 0.5
      echo $(hostname) $(getent hosts node1 node2 | tr -s ' ') $(ls /dev/shm)
      """
    let outcome = try EmulatedCluster()(
      "run", ["--hosts", "2", "--program", "/bin/sh", "--", "-c", script])
    #expect(
      outcome.output.split(separator: "\n").sorted() == [
        "node1 10.77.0.1 node1 10.77.0.2 node2 0", "node2 10.77.0.1 node1 10.77.0.2 node2 1",
      ], "\(outcome)")
  }

  /// 2 MiB each way take at least 0.16 s at 100 Mbit/s, and a few milliseconds without a limit.
  @Test func aRateHoldsTheLinksBack() throws {
    struct Report: Decodable { let seconds: Double }
    let outcome = try EmulatedCluster()(
      "run",
      [
        "--hosts", "2", "--rate", "100mbit", "--", "attend", "--random", "1x512x16x16x64",
        "--transport", "ring", "--report", "json",
      ])
    #expect(outcome.code == 0, "\(outcome.errors)")
    let report = try JSONDecoder().decode(Report.self, from: Data(outcome.output.utf8))
    #expect(report.seconds > 0.15)
  }

  @Test(arguments: [1, 66])
  func aFailedJobsCodeComesThroughAndNothingIsLeft(code: Int32) throws {
    let cluster = EmulatedCluster()
    let outcome = try cluster(
      "run",
      [
        "--hosts", "2", "--program", "/bin/sh", "--", "-c",
        "[ $OMPI_COMM_WORLD_RANK = 0 ] || { echo no q >&2; exit \(code); }",
      ])
    #expect(outcome.code == code)
    #expect(outcome.complaints.contains("no q"), "\(outcome.errors)")
    #expect(outcome.complaints.count <= 2, "\(outcome.errors)")
    #expect(cluster.namespaces == [])
  }

  /// Whatever ends the script ends the job on all hosts, and removes them; SIGKILL too.
  @Test(arguments: ["TERM", "INT", "HUP", "KILL"], ["0.05", "started"])
  func nothingOutlivesTheScript(signal: String, moment: String) throws {
    let cluster = EmulatedCluster()
    let folder = try TemporaryFolder()
    let outcome = try Script.run(
      "/bin/bash",
      [
        "-c",
        """
        set -m
        Launch/emulated-cluster run --name \(cluster.name) --hosts 2 --program /bin/sh -- \
          -c 'echo $$ >"$0/$(hostname)"; exec sleep 40' "$1" 2>/dev/null & script=$!
        if [ \(moment) = started ]; then
          until [ -s "$1/node1" ] && [ -s "$1/node2" ]; do sleep 0.05; done
        else
          sleep \(moment)
        fi
        kill -s \(signal) $script
        wait $script 2>/dev/null; code=$?
        left() {
          ls /run/netns | grep "^\(cluster.name)"
          for pid in $(cat "$1"/node* 2>/dev/null); do
            case $(sed -n 's/^State:.//p' /proc/$pid/status 2>/dev/null) in
              '' | Z*) ;;
              *) echo process $pid ;;
            esac
          done
        }
        for ((i = 0; i < 100; i++)); do
          [ -n "$(left "$1")" ] || exit $code
          sleep 0.1
        done
        left "$1"
        exit $code
        """, "bash", folder.path,
      ])
    #expect(outcome.code != 0)
    #expect(outcome.output == "")
  }

  @Test func runsAtTheSameTimeDoNotMeet() throws {
    let name = EmulatedCluster().name
    let outcome = try Script.run(
      "/bin/bash",
      [
        "-c",
        """
        for i in 1 2 3; do
          Launch/emulated-cluster run --name \(name) --hosts 2 --program /bin/hostname &
        done
        wait
        """,
      ])
    #expect(outcome.errors == "")
    #expect(
      outcome.output.split(separator: "\n").sorted()
        == ["node1", "node1", "node1", "node2", "node2", "node2"])
  }
}
