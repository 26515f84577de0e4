module taskscope.test/serve

go 1.24
