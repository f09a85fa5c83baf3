// What a process of a Nextflow file runs and leaves: process.groovy FILE NAME=VALUE…, its inputs and
// parameters by name. Stands in where there is no Nextflow; of the workflow only the syntax is seen.
import groovy.json.JsonOutput
import org.codehaus.groovy.control.CompilerConfiguration

abstract class Pipeline extends Script {
    def outputs = []

    def workflow(Closure body) {}
    def methodMissing(String name, arguments) { arguments[0] } // SCORE { … }
    def process(Closure body) {
        body.delegate = this
        println JsonOutput.toJson([script: body().toString(), outputs: outputs*.toString()])
    }
    def path(file) { outputs = [file] } // inputs come before outputs
    def val(value) {}
    def tuple(Object... parts) {}
    def tag(text) {}
    def container(name) {}
}

def given = args.drop(1).collectEntries { it.split('=', 2).toList() }
def params = new HashMap() { // what the command line gives stays, as in Nextflow
    def put(name, value) { super.put(name, given.getOrDefault(name, value)) }
}
def binding = new Binding(given + [nextflow: [enable: [:]], params: params])
def configuration = new CompilerConfiguration(scriptBaseClass: Pipeline.name)
new GroovyShell(this.class.classLoader, binding, configuration).evaluate(new File(args[0]))
