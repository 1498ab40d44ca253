import Hosts
import Testing

/// What a process may use of its host.
@Suite("Limits of a host")
struct HostLimitTests {
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
}
