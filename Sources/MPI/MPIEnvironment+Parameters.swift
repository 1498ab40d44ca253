extension MPIEnvironment {
  /// The values in effect of some of the library's parameters (those that `mpirun --mca` sets), by
  /// name.
  ///
  /// ```swift
  /// MPIEnvironment.parameters(["btl", "btl_tcp_if_include", "mpi_yield_when_idle"])
  /// ```
  ///
  /// They are what the running library works with, wherever they were set: on the command line, in
  /// the environment, in a file, or by itself, as when it finds that single copy is not permitted.
  /// Inside ``withMPI(threadLevel:failureGrace:_:)`` they are those of this job; outside of it,
  /// defaults. Switches are `true` or `false`, choices have their names.
  ///
  /// - Parameter names: as `ompi_info --all` lists them, `framework_component_parameter`.
  /// - Returns: the values; parameters that the library does not know, or belong to a component
  ///   that it does not use, are left out.
  /// - Complexity: some 0.2 s with Open MPI 4.1, which loads components for it; ask for all at
  ///   once.
  ///
  /// C: `MPI_T_cvar_get_index`, `MPI_T_cvar_read`, MPI 3.1 §14.3.6.
  public static func parameters(_ names: [String]) -> [String: String] {
    guard let tools = ToolsInterface() else { return [:] }
    var values: [String: String] = [:]
    for name in names { values[name] = tools.value(of: name) }
    return values
  }

  /// The components of a framework of Open MPI that this process holds open, in alphabetical order.
  ///
  /// MPI does not say which one carries a message. What it says inside
  /// ``withMPI(threadLevel:failureGrace:_:)`` is nearly as good: a component that is not used is
  /// closed, and its parameters are gone. Of `pml` one is left, which is in use; of `btl` those
  /// which may carry messages; of `coll` and `osc` those from which a communicator and a window
  /// choose. A framework that nobody asked for, as `mtl` beside the pml `ob1`, is listed whole.
  ///
  /// - Parameter framework: its short name.
  /// - Complexity: as ``parameters(_:)``.
  ///
  /// C: `MPI_T_category_get_info`, MPI 3.1 §14.3.8.
  public static func openComponents(of framework: String) -> [String] {
    guard let tools = ToolsInterface() else { return [] }
    return tools.components(of: framework)
  }
}
