import Attention
import Glibc
import Hosts
import MPI
import Reporting

extension HostFacts {
  /// This host.
  package static var current: HostFacts {
    var host = HostFacts()
    host.name = MPIEnvironment.processorName
    host.kernel = line(ofFile: "/proc/sys/kernel/osrelease")
    host.bootIdentifier = line(ofFile: "/proc/sys/kernel/random/boot_id")
    let cpuinfo = text(ofFile: "/proc/cpuinfo")
    host.processor = processorModel(cpuinfo: cpuinfo)
    host.instructionSet = InstructionSet.supported(cpuinfo: cpuinfo).last?.rawValue
    let grant = ProcessorGrant.current
    let online = ProcessorGrant.online(text(ofFile:))
    host.cores = online.isEmpty ? grant.cpus.map { [$0] } : online
    host.memoryNodes = MemoryNodes.cpus(text(ofFile:))
    host.coreQuota = grant.quota
    let memory = HostMemory.current
    host.memoryLimitBytes = memory.limitBytes
    host.memoryBytes = memory.physicalBytes
    host.availableMemoryBytes = min(
      memory.usableBytes, availableMemory(meminfo: text(ofFile: "/proc/meminfo")))
    host.sharedMemory = SharedWindow.room.map {
      var memory = SharedMemory(totalBytes: $0.totalBytes, freeBytes: $0.freeBytes)
      memory.folder = $0.folder
      return memory
    }
    host.interfaces = networkInterfaces()
    host.infiniband = names(inFolder: "/sys/class/infiniband")
    let frequency = "/sys/devices/system/cpu/cpu0/cpufreq"
    host.frequencyDriver = nonEmpty(line(ofFile: "\(frequency)/scaling_driver"))
    host.frequencyGovernor = nonEmpty(line(ofFile: "\(frequency)/scaling_governor"))
    host.ptraceScope = Int(line(ofFile: "/proc/sys/kernel/yama/ptrace_scope"))
    let clock = ContinuousClock()
    let start = clock.now
    host.resolvesOwnName = hasAddress(host.name)
    host.resolutionSeconds = (clock.now - start).inSeconds
    return host
  }

  /// The same with what the running MPI library says.
  var withLibrary: HostFacts {
    var host = self
    host.parameters = MPIEnvironment.parameters(Self.reportedParameters)
    for framework in ["pml", "btl", "coll", "osc"] {
      host.components[framework] = MPIEnvironment.openComponents(of: framework)
    }
    return host
  }

  /// What decides how a job of gyre goes.
  private static let reportedParameters = [
    "pml", "btl", "osc", "coll", "btl_tcp_if_include", "btl_tcp_if_exclude", "btl_tcp_flags",
    "btl_tcp_links", "btl_vader_single_copy_mechanism", "btl_vader_backing_directory",
    "osc_sm_backing_directory", "mpi_yield_when_idle", "mpi_leave_pinned",
  ]
}

/// The first line of a small file of the system; empty if it cannot be read.
package func line(ofFile path: String) -> String {
  String(text(ofFile: path).prefix { $0 != "\n" })
}

private func nonEmpty(_ text: String) -> String? { text.isEmpty ? nil : text }

private func processorModel(cpuinfo: String) -> String {
  let model = cpuinfo.split(separator: "\n").first { $0.hasPrefix("model name") }
  return model?.split(separator: ":").last.map { String($0.drop { $0 == " " }) } ?? "unknown"
}

/// `MemAvailable` of `/proc/meminfo`, which counts in KiB.
private func availableMemory(meminfo: String) -> Int {
  let line = meminfo.split(separator: "\n").first { $0.hasPrefix("MemAvailable:") }
  return (line.flatMap { Int($0.filter(\.isNumber)) } ?? 0) << 10
}

private func names(inFolder path: String) -> [String] {
  guard let folder = unsafe opendir(path) else { return [] }
  defer { unsafe closedir(folder) }
  var names: [String] = []
  while let entry = unsafe readdir(folder) {
    let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) {
      unsafe $0.withMemoryRebound(to: CChar.self, capacity: 256) { unsafe String(cString: $0) }
    }
    if !name.hasPrefix(".") { names.append(name) }
  }
  return names.sorted()
}
