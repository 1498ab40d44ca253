public import ArgumentParser
import Attention
public import ScalingModel

/// The machines that a prediction is about.
struct ClusterOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      """
      Measured speeds, of gyre bench kernel and gyre bench link in JSON; can be given several times. \
      Numbers given below go first.
      """, valueName: "file"),
    completion: .file(extensions: ["json", "jsonl"]))
  var results: [String] = []

  @Option(help: ArgumentHelp("Flops a second of a thread, as 85G.", valueName: "x"))
  var flops: Speed?

  @Option(
    help: ArgumentHelp(
      "The same of the backward pass. (default: as forward)", valueName: "x"))
  var backwardFlops: Speed?

  @Option(help: ArgumentHelp("What a host's link carries, as 100gbit or 12.5GB/s.", valueName: "x"))
  var network: Rate?

  @Option(help: ArgumentHelp("Seconds of a short message between hosts, as 2us.", valueName: "t"))
  var networkLatency: Delay?

  @Option(help: ArgumentHelp("What two ranks of a host exchange.", valueName: "x"))
  var inside: Rate?

  @Option(help: ArgumentHelp("Seconds of a short message inside a host.", valueName: "t"))
  var insideLatency: Delay?

  @Option(
    help: ArgumentHelp(
      "Processor time that a byte between hosts costs at each end, as 0.3ns.", valueName: "t"))
  var networkWork: Delay?

  @Option(help: ArgumentHelp("The same of a byte inside a host.", valueName: "t"))
  var insideWork: Delay?

  @Option(help: ArgumentHelp("Ranks of a host.", valueName: "n"))
  var ranksPerHost = 1

  @Option(help: ArgumentHelp("Threads of a rank.", valueName: "n"))
  var threads = 1

  @Option(
    help: ArgumentHelp("Cores of a host. (default: as many as it has threads)", valueName: "n"))
  var coresPerHost: Int?

  @Flag(help: "All hosts share these cores, as in an emulated cluster.")
  var sharedCores = false

  @Option(help: "How ranks are counted: host by host, or round the hosts.")
  var mapBy = Cluster.Mapping.slot

  @Option(
    help: ArgumentHelp(
      "Standard deviation of the time of a visit, over its mean, as 0.02.", valueName: "x"))
  var noise = 0.0

  @Option(help: ArgumentHelp("Seconds of each pass besides.", valueName: "t"))
  var startUp = Delay(0)

  func validate() throws {
    for (name, value) in [
      ("--ranks-per-host", ranksPerHost), ("--threads", threads),
      ("--cores-per-host", coresPerHost ?? 1),
    ] where !(1...1_000_000).contains(value) {
      throw ValidationError("\(name) is \(value); give a number from 1 to 1,000,000.")
    }
    guard noise.isFinite, (0...1).contains(noise) else {
      throw ValidationError("--noise is \(noise); give a number from 0 to 1.")
    }
    for (name, value) in [
      ("--flops", flops?.value), ("--backward-flops", backwardFlops?.value),
      ("--network", network?.value), ("--inside", inside?.value),
    ] {
      if let value, value <= 0 { throw ValidationError("\(name) is 0; give a positive number.") }
    }
  }

  /// The machines, of what is given and what was measured.
  ///
  /// - Parameter rows: of results files.
  /// - Throws: `UserError` where a speed is neither given nor measured.
  func cluster(shape: AttentionShape, rows: [ResultRow]) throws -> Cluster {
    var kernel = measuredKernel(shape, rows)
    if let flops {
      var given = KernelCurve(flopsPerSecond: flops.value)
      if let backwardFlops {
        given.setCurve(
          [KernelCurve.Point(tokens: 1, flopsPerSecond: backwardFlops.value)], .backward,
          isMasked: false)
      }
      kernel = given
    }
    guard let kernel else {
      throw UserError(
        "How fast is a thread? Give --flops, as in --flops 85G, or --results with the JSON of: "
          + "gyre bench kernel --tokens 512,2048,8192 --format json")
    }
    let links = LinkRows(rows)
    var network = links.network
    var inside = links.inside
    if let rate = self.network { network = link(network, rate) }
    if let rate = self.inside { inside = link(inside, rate) }
    guard let network = network ?? inside else {
      throw UserError(
        "How fast is the network? Give --network, as in --network 100gbit, or --results with the "
          + "JSON of: mpirun … gyre bench link --format json")
    }
    var cluster = Cluster(
      kernel: kernel, network: adjusted(network, networkLatency, networkWork),
      inside: adjusted(inside ?? network, insideLatency, insideWork), ranksPerHost: ranksPerHost,
      threads: threads)
    cluster.cores = coresPerHost
    cluster.sharesCores = sharedCores
    cluster.mapping = mapBy
    cluster.noise = noise
    cluster.startUp = startUp.value
    return cluster
  }

  /// A link of a given rate, as measured otherwise.
  private func link(_ measured: Link?, _ rate: Rate) -> Link {
    Link(
      latency: measured?.latency ?? 0, bytesPerSecond: rate.value,
      cpuSecondsPerByte: measured?.cpuSecondsPerByte ?? 0)
  }

  /// A link with what else is given of it.
  private func adjusted(_ link: Link, _ delay: Delay?, _ work: Delay?) -> Link {
    Link(
      latency: delay?.value ?? link.latency, bytesPerSecond: link.bytesPerSecond,
      cpuSecondsPerByte: work?.value ?? link.cpuSecondsPerByte)
  }

  /// The speeds of gyre bench kernel, of one thread and the nearest head dims; nil if there are none.
  private func measuredKernel(_ shape: AttentionShape, _ rows: [ResultRow]) -> KernelCurve? {
    let kernels = rows.filter {
      $0.benchmark == "kernel" && $0.fields["dtype"]?.string == "f32"
        && $0.fields["threads"]?.int == 1
        && $0.fields["reproducible"]?.bool == false && $0["queries"] == $0["tokens"]
    }
    func dims(_ row: ResultRow) -> [Int]? {
      row.fields["headDim"]?.int.map { [$0, row.fields["valueHeadDim"]?.int ?? $0] }
    }
    func distance(_ dims: [Int]) -> Int {
      abs(dims[0] - shape.headDim) + abs(dims[1] - shape.valueHeadDim)
    }
    let measured = kernels.compactMap(dims)
    guard let nearest = measured.min(by: { distance($0) < distance($1) }) else { return nil }
    var curve = KernelCurve()
    for pass in [AttentionPass.forward, .backward] {
      for isMasked in [false, true] {
        let points = kernels.filter {
          dims($0) == nearest && $0.fields["pass"]?.string == pass.name
            && $0.fields["causal"]?.bool == isMasked
        }.compactMap { row in
          row["tokens"].flatMap { tokens in
            row["flopsPerSecond"].map {
              KernelCurve.Point(tokens: tokens, flopsPerSecond: $0)
            }
          }
        }
        if !points.isEmpty { curve.setCurve(points, pass, isMasked: isMasked) }
      }
    }
    return curve.covers(.forward) || curve.covers(.backward) ? curve : nil
  }
}

extension Cluster.Mapping: ExpressibleByArgument {}

extension AttentionPass {
  /// Its name in results files.
  var name: String { self == .forward ? "forward" : "backward" }
}
