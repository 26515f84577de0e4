module taskscope.test/shop-load

go 1.24
