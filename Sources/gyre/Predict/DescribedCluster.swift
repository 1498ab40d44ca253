import Attention
import Reporting
import Results
import ScalingModel

/// The machines of a prediction, and where each number comes from.
struct DescribedCluster {
  var cluster: Cluster
  /// What was taken from where, a sentence each.
  let sources: [String]
  /// What nobody has measured or given, a sentence each.
  let guesses: [String]
}

extension ClusterOptions {
  /// The machines, of what is given, what was measured, and what runs let on.
  ///
  /// - Parameters:
  ///   - dims: of the problem.
  ///   - arithmetic: of the problem.
  ///   - rules: of the problem.
  ///   - rows: of results files.
  ///   - ranksPerHost: of the problem.
  ///   - runs: what is taken where neither says anything; nil to ask for it.
  ///   - given: the speed of what is computed, where that is no attention.
  /// - Throws: a `UserError` of usage where a speed is not known.
  func describe(
    _ dims: HeadDims, _ arithmetic: Arithmetic, _ rules: ScoreRuleKinds = .none,
    rows: [ResultRow], ranksPerHost: Int = 1, runs: RunSpeeds? = nil,
    kernel given: (curve: KernelCurve, source: String)? = nil
  ) throws -> DescribedCluster {
    let ofRules = MeasuredKernel(nearest: dims, arithmetic, rules, rows)
    let nearest = ofRules ?? MeasuredKernel(nearest: dims, arithmetic, .none, rows)
    let measured = given == nil ? nearest : nil
    let (kernel, kernelSource) = try given ?? speed(measured, arithmetic, runs)
    let links = LinkRows(rows)
    let between = self.network.map { rate in link(links.network ?? links.inside, rate) }
    guard let network = between ?? links.network ?? links.inside ?? runs?.network else {
      throw UserError.usage(
        "How fast is the network? Give --network, as in --network 100gbit, or --results with the "
          + "JSON of: mpirun … gyre bench link --format json")
    }
    let outer = adjusted(network, networkLatency, networkWork)
    let near = self.inside.map { rate in link(links.inside ?? outer, rate) }
    let inner = adjusted(near ?? links.inside ?? runs?.inside ?? outer, insideLatency, insideWork)
    var cluster = Cluster(
      kernel: kernel, network: outer, inside: inner, ranksPerHost: ranksPerHost,
      threads: threads)
    cluster.cores = coresPerHost
    cluster.sharesCores = sharedCores
    cluster.mapping = mapBy
    cluster.noise = noise
    let (crowdSources, crowdGuess) = crowd(&cluster, MeasuredCores(rows))
    cluster.startUp = startUp.value
    let networkSource =
      between != nil
      ? "links between hosts of --network"
      : links.network != nil
        ? "links between hosts of gyre bench link"
        : links.inside != nil ? "links between hosts as those inside one" : RunSpeeds.ofNetwork
    let insideSource =
      near != nil
      ? "links inside a host of --inside"
      : links.inside != nil
        ? "links inside a host of gyre bench link"
        : runs != nil ? RunSpeeds.ofInside : "links inside a host as those between hosts"
    // Runs show it themselves.
    var guesses = runs == nil ? [crowdGuess].compactMap { $0 } : []
    if flops == nil, let measured, measured.dims != dims {
      guesses.append(
        "no kernel of head dim \(dims) was measured, and the speed is that of \(measured.dims)"
      )
    }
    if flops == nil, measured != nil, ofRules == nil {
      guesses.append(
        "no kernel was measured with \(rules.options), and the speed is that of one without")
    }
    if between == nil, links.network == nil, links.inside != nil {
      guesses.append("no links between hosts were measured, and those inside one stand for them")
    }
    return DescribedCluster(
      cluster: cluster, sources: [kernelSource, networkSource, insideSource] + crowdSources,
      guesses: guesses)
  }

  /// Sets what cores of a host take from each other, and what memory gives them.
  ///
  /// - Returns: what was taken from where, and what is guessed.
  private func crowd(
    _ cluster: inout Cluster, _ measured: MeasuredCores
  ) -> (sources: [String], guess: String?) {
    var sources: [String] = []
    let neighbours = cluster.ranksPerHost * threads
    if let crowding {
      cluster.coreCurve = CoreCurve(crowding: crowding, cores: coresPerHost ?? neighbours)
      sources.append("what cores take from each other of --crowding")
    } else if let curve = measured.curve {
      cluster.coreCurve = curve
      sources.append("what cores take from each other of gyre bench kernel")
    }
    if let memory {
      cluster.memory = MemoryCurve(bytesPerSecond: memory.value)
      sources.append("memory of --memory")
    } else if let curve = measured.memory {
      cluster.memory = curve
      sources.append("memory of gyre bench kernel")
    }
    let isAlone = neighbours == 1 || cluster.coreCurve != nil
    return (
      sources,
      isAlone ? nil : "cores of a host do not slow each other down, as nobody has measured it"
    )
  }

  /// What is guessed of the links inside a host, where there are any.
  func insideGuess(rows: [ResultRow]) -> String? {
    guard inside == nil, LinkRows(rows).inside == nil, (ranksPerHost ?? 1) > 1 else { return nil }
    return "nothing is known of links inside a host, and they are as those between hosts"
  }

  /// What is guessed of a pass or a mask that was not measured.
  func kernelGuesses(_ kernel: KernelCurve, _ passes: [AttentionPass]) -> [String] {
    let isKnown = { (pass: AttentionPass) in
      flops == nil
        ? kernel.covers(pass) : pass == .forward || backwardFlops != nil
    }
    return passes.filter { !isKnown($0) }.map { pass in
      "the kernel's \(pass.name) pass is as fast as the other"
    }
  }

  private func speed(
    _ measured: MeasuredKernel?, _ arithmetic: Arithmetic, _ runs: RunSpeeds?
  ) throws -> (KernelCurve, source: String) {
    if let flops {
      var given = KernelCurve(flopsPerSecond: flops.value)
      if let backwardFlops {
        given.setCurve(
          [KernelCurve.Point(tokens: 1, flopsPerSecond: backwardFlops.value)], .backward,
          isMasked: false)
      }
      return (given, "the kernel's speed of --flops")
    }
    if let measured {
      let products = arithmetic == .f32 ? "" : ", \(arithmetic) products"
      return (
        measured.curve,
        "the kernel's speed of gyre bench kernel, head dim \(measured.dims)\(products)"
      )
    }
    if let runs, let curve = runs.kernel { return (curve, runs.ofKernel) }
    throw UserError.usage(
      "How fast is a thread? Give --flops, as in --flops 85G, or --results with the JSON of: "
        + "gyre bench kernel --tokens 512,2048,8192 "
        + (arithmetic == .f32 ? "" : "--arithmetic \(arithmetic) ") + "--format json")
  }

  /// A link of a given rate, as measured otherwise.
  private func link(_ measured: Link?, _ rate: Rate) -> Link {
    Link(
      latency: measured?.latency ?? 0, bytesPerSecond: rate.value,
      cpuSecondsPerByte: measured?.cpuSecondsPerByte ?? 0)
  }

  /// A link with what else is given of it.
  private func adjusted(_ link: Link, _ delay: Delay?, _ work: ByteWork?) -> Link {
    Link(
      latency: delay?.value ?? link.latency, bytesPerSecond: link.bytesPerSecond,
      cpuSecondsPerByte: work?.value ?? link.cpuSecondsPerByte)
  }
}
