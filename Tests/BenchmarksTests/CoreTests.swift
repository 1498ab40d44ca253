import Benchmarks
import Hosts
import Testing

/// The cores that ranks may use.
@Suite("Cores of ranks")
struct CoreTests {
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
}
