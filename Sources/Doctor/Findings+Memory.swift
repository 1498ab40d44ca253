import Reporting

/// Whether there is memory, and room in it to share.
func memoryFindings(_ facts: JobFacts) -> [Finding] {
  facts.hosts.indices.flatMap { index in
    let host = facts.hosts[index]
    // Alone, as many ranks as a job would have here.
    let ranks =
      facts.mpirun == nil ? facts.ranks(on: index).count : max(2, facts.grantedCores(on: index))
    return roomFindings(host, ranks: ranks) + sharingFindings(host, ranks: ranks)
      + amountFindings(host)
  }
}

/// What one token's keys and values take, of 8 KV heads and head dim 128 in F32.
private let bytesOfToken = 2 * 8 * 128 * 4
/// Shared memory of this much a rank is enough not to be talked about: 8,192 such tokens.
private let comfortableBytes = 64 << 20
/// What Open MPI itself keeps there for each rank.
private let libraryBytes = 4 << 20

private func roomFindings(_ host: HostFacts, ranks: Int) -> [Finding] {
  guard ranks > 1 else { return [] }
  guard let room = host.sharedMemory else {
    return [
      Finding(
        topic: .sharedMemory, severity: .warning, hosts: [host.name],
        sentence: "The folder in which ranks share memory cannot be looked at.",
        remedy: "Mount a tmpfs on /dev/shm, or name a local folder: mpirun --mca "
          + "osc_sm_backing_directory …")
    ]
  }
  let free = formatBytes(Double(room.freeBytes))
  guard room.freeBytes < ranks * comfortableBytes else {
    return [.ok(.sharedMemory, "ranks of a host have room to share in \(room.folder)")]
  }
  let size = formatBytes(Double(room.totalBytes))
  let isFull = room.freeBytes < ranks * libraryBytes
  return [
    Finding(
      topic: .sharedMemory, severity: isFull ? .problem : .warning, hosts: [host.name],
      sentence: "\(room.folder) has \(free) free of \(size) for \(ranks) ranks: "
        + (isFull
          ? "not even what Open MPI itself keeps there, 4 MiB a rank."
          : "keys and values of \(grouped(room.freeBytes / bytesOfToken)) tokens (8 KV heads, "
            + "head dim "
            + "128, f32); beyond, --transport shared and hierarchical are refused, and auto sends "
            + "through MPI what ranks could have read in place."),
      remedy:
        "Enlarge it (mount -o remount,size=8g \(room.folder), docker run --shm-size=8g), or name "
        + "another local folder: mpirun --mca osc_sm_backing_directory …")
  ]
}

/// Whether Open MPI has what ranks share memory by.
private func sharingFindings(_ host: HostFacts, ranks: Int) -> [Finding] {
  guard ranks > 1, let components = host.components["osc"], !components.contains("sm") else {
    return []
  }
  let setting = host.parameters["osc"].map { $0.isEmpty ? "" : " (osc is set to \($0))" } ?? ""
  return [
    Finding(
      topic: .sharedMemory, severity: .warning, hosts: [host.name],
      sentence:
        "Open MPI's component for shared memory, osc sm, is not open\(setting): --transport "
        + "shared and hierarchical are refused, and auto sends through MPI what ranks could have "
        + "read in place.",
      remedy:
        "Leave osc unset: unset OMPI_MCA_osc, mpirun without --mca osc, openmpi-mca-params.conf.")
  ]
}

private func amountFindings(_ host: HostFacts) -> [Finding] {
  var result: [Finding] = []
  if let limit = host.memoryLimitBytes, limit < host.memoryBytes {
    result.append(
      Finding(
        topic: .memory, severity: .warning, hosts: [host.name],
        sentence:
          "The container or batch system grants \(formatBytes(Double(limit))) of the host's "
          + "\(formatBytes(Double(host.memoryBytes))); Gyre refuses what needs more, and the "
          + "kernel kills or stalls ranks at the limit.",
        remedy:
          "Keep to it (Docs/Options.md, What it needs), or ask for more: docker run --memory=…, "
          + "sbatch --mem=…"))
  }
  let usable = min(host.memoryLimitBytes ?? .max, host.memoryBytes)
  if host.availableMemoryBytes * 5 < usable {
    result.append(
      Finding(
        topic: .memory, severity: .note, hosts: [host.name],
        sentence: "Only \(formatBytes(Double(host.availableMemoryBytes))) of "
          + "\(formatBytes(Double(usable))) of memory are available: others use the rest.",
        remedy: "See who: ps aux --sort=-rss | head; and what is left behind in /dev/shm."))
  }
  return result
}
